import { randomUUID } from 'node:crypto';

/** A transactional id of the deployment that nobody has had. */
export function newTransactionalId(deployment: string): string {
  return `${deployment}-${randomUUID()}`;
}

/** Whether the transactional id is one of the deployment's. */
export function isIdOf(deployment: string, transactionalId: string): boolean {
  return (
    transactionalId.startsWith(`${deployment}-`) &&
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(transactionalId.slice(deployment.length + 1))
  );
}
