import { describe, expect, it } from 'vitest';
import { readHeaders, writeHeaders } from '../../src/codec/cloudevents.ts';
import { contentKind } from '../../src/codec/content-type.ts';

const ATTRIBUTES = { id: 'carts/3/41', type: 'shop.Added', source: '/shop', subject: 'cart-1' };
const PROTOBUF = ['content-type', 'application/protobuf'] as const;

describe('readHeaders', () => {
  it('gives CloudEvents attributes as ce- in lower case, with _ and - and in any case', () => {
    const { metadata, ceType } = readHeaders({
      ce_id: Buffer.from('1'),
      'CE-Source': Buffer.from('/shop'),
      ce_type: Buffer.from('shop.AddItem'),
    });

    expect(metadata).toEqual([
      { key: 'ce-id', value: '1' },
      { key: 'ce-source', value: '/shop' },
      { key: 'ce-type', value: 'shop.AddItem' },
    ]);
    expect(ceType).toBe('shop.AddItem');
  });

  it('gives the content type as Content-Type, other headers under their name in lower case', () => {
    const { metadata, contentType } = readHeaders({ 'CONTENT-type': Buffer.from('text/plain'), 'X-Trace': 'abc' });

    expect(metadata).toEqual([
      { key: 'Content-Type', value: 'text/plain' },
      { key: 'x-trace', value: 'abc' },
    ]);
    expect(contentType).toBe('text/plain');
  });

  it('leaves out our own headers, those that functions trust, and headers without value', () => {
    const { metadata } = readHeaders({
      'stateferry-origin': Buffer.from('x'),
      'Stateferry-Error': Buffer.from('x'),
      '_kalix-src': Buffer.from('self'),
      '_Kalix-JWT-claim-sub': Buffer.from('root'),
      gone: undefined,
      __TypeId__: Buffer.from('kept'),
    });

    expect(metadata).toEqual([{ key: '__typeid__', value: 'kept' }]);
  });

  it('repeats an entry for a repeated header and decides by the first', () => {
    const { metadata, ceType } = readHeaders({ ce_type: [Buffer.from('a'), 'b'], tag: ['x', Buffer.from('y')] });

    expect(metadata).toEqual([
      { key: 'ce-type', value: 'a' },
      { key: 'ce-type', value: 'b' },
      { key: 'tag', value: 'x' },
      { key: 'tag', value: 'y' },
    ]);
    expect(ceType).toBe('a');
  });

  it('keeps a value that is not UTF-8 as bytes, and decides nothing by it', () => {
    const bytes = Buffer.from([0xff, 0x01]);

    expect(readHeaders({ ce_type: bytes })).toEqual({
      metadata: [{ key: 'ce-type', value: bytes }],
      ceType: undefined,
      contentType: undefined,
    });
  });

  it('gives no metadata for no headers', () => {
    expect(readHeaders({})).toEqual({ metadata: [], ceType: undefined, contentType: undefined });
  });
});

describe('writeHeaders', () => {
  it('gives our attributes, the content type and then the metadata', () => {
    expect(writeHeaders(ATTRIBUTES, PROTOBUF, [{ key: 'X-Trace', value: 'abc' }])).toEqual([
      ['ce_specversion', '1.0'],
      ['ce_id', 'carts/3/41'],
      ['ce_type', 'shop.Added'],
      ['ce_source', '/shop'],
      ['ce_subject', 'cart-1'],
      ['content-type', 'application/protobuf'],
      ['x-trace', 'abc'],
    ]);
  });

  it('gives no subject where there is none', () => {
    expect(writeHeaders({ ...ATTRIBUTES, subject: '' }, PROTOBUF, []).map(([name]) => name)).not.toContain(
      'ce_subject',
    );
  });

  it("lets the function's type, subject, dataschema and time come before ours, the first of each, and keeps extensions", () => {
    const headers = writeHeaders({ ...ATTRIBUTES, subject: '' }, PROTOBUF, [
      { key: 'ce-type', value: 'mine' },
      { key: 'CE-Type', value: 'not mine' },
      { key: 'ce-subject', value: 'other' },
      { key: 'ce-time', value: '2026-01-01T00:00:00Z' },
      { key: 'ce-dataschema', value: 'urn:x' },
      { key: 'ce-traceparent', value: '00-1' },
    ]);

    expect(headers).toEqual([
      ['ce_specversion', '1.0'],
      ['ce_id', 'carts/3/41'],
      ['ce_type', 'mine'],
      ['ce_source', '/shop'],
      ['ce_subject', 'other'],
      ['ce_time', '2026-01-01T00:00:00Z'],
      ['ce_dataschema', 'urn:x'],
      ['ce_traceparent', '00-1'],
      ['content-type', 'application/protobuf'],
    ]);
  });

  it('lets nobody change what the record is, and publishes nothing that is private or ours', () => {
    const headers = writeHeaders(ATTRIBUTES, PROTOBUF, [
      { key: 'ce-id', value: 'forged' },
      { key: 'ce-source', value: 'forged' },
      { key: 'ce-specversion', value: '0.1' },
      { key: 'ce-datacontenttype', value: 'text/html' },
      { key: 'Content-Type', value: 'text/html' },
      { key: 'stateferry-origin', value: 'forged' },
      { key: '_kalix-http-code', value: '201' },
      { key: '_private', value: 'x' },
      { key: 'trace-bin', value: Buffer.from([1]) },
    ]);

    expect(headers).toEqual(writeHeaders(ATTRIBUTES, PROTOBUF, []));
  });

  it('is read back by readHeaders as it was given', () => {
    const headers = Object.fromEntries(writeHeaders(ATTRIBUTES, PROTOBUF, [{ key: 'tag', value: 'ä' }]));

    expect(readHeaders(headers).metadata).toEqual([
      { key: 'ce-specversion', value: '1.0' },
      { key: 'ce-id', value: 'carts/3/41' },
      { key: 'ce-type', value: 'shop.Added' },
      { key: 'ce-source', value: '/shop' },
      { key: 'ce-subject', value: 'cart-1' },
      { key: 'Content-Type', value: 'application/protobuf' },
      { key: 'tag', value: 'ä' },
    ]);
  });
});

describe('contentKind', () => {
  it.each([
    [undefined, 'protobuf'],
    ['', 'protobuf'],
    ['application/protobuf', 'protobuf'],
    ['application/x-protobuf; messageType="shop.AddItem"', 'protobuf'],
    ['application/grpc', 'protobuf'],
    ['application/json', 'json'],
    ['Application/JSON; charset=utf-8', 'json'],
    ['application/vnd.shop+json', 'json'],
    ['application/cloudevents+json', 'structured'],
    ['application/cloudevents-batch+json; charset=utf-8', 'structured'],
    ['text/plain', 'text'],
    ['text/csv; header=present', 'text'],
    ['application/octet-stream', 'bytes'],
    ['application/avro', 'other'],
    ['nonsense', 'other'],
  ])('takes %s for %s', (contentType, kind) => {
    expect(contentKind(contentType)).toBe(kind);
  });
});
