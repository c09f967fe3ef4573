import { describe, expect, it } from 'vitest';
import { javaVersion } from '../../src/local/java.ts';
import { newClusterId } from '../../src/local/kafka.ts';

describe('javaVersion', () => {
  it.each([
    ['openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17],
    ['openjdk version "21" 2023-09-19', 21],
    ['java version "1.8.0_392"', 8],
    ['Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "11.0.2"', 11],
    ['openjdk version "26-ea" 2026-03-17', 26],
    ['The operation could not be completed. Unable to locate a Java Runtime.', undefined],
  ])('reads %j as %s', (about, version) => {
    expect(javaVersion(about)).toBe(version);
  });
});

describe('newClusterId', () => {
  it('is 16 bytes in base64url and never looks like an option', () => {
    const ids = Array.from({ length: 500 }, newClusterId);
    for (const id of ids) {
      expect(id).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/);
      expect(Buffer.from(id, 'base64url')).toHaveLength(16);
    }
    expect(new Set(ids).size).toBe(ids.length);
  });
});
