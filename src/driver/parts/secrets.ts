/** Secrets that disks, volumes and pools need. */
import {
  Secret,
  SecretDefinition,
  type SecretDefinitionInput,
  SecretValue,
  schema as s,
} from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface UndefineSecretOptions extends CallOptions {
  /** Also while a volume or pool needs it, which cannot be read then. */
  readonly force?: boolean
}

/** Secrets, each by its uuid, or by the name of what it is for. */
export interface Secrets {
  /** All of them, without their values. */
  list(): Promise<Secret[]>
  get(secret: string): Promise<Secret>
  /** In libvirt's words. */
  describe(secret: string): Promise<SecretDefinition>
  /**
   * Makes a secret known, or replaces what is said of the one with the same uuid; its value stays. Fails with
   * `already-exists` when another one is for the same use, `invalid-state` when a private one would become readable.
   */
  define?(definition: SecretDefinitionInput & CallOptions): Promise<Secret>
  /** Forgets it and its value; `invalid-state` while a volume or pool needs it, unless forced. */
  undefine?(secret: string, options?: UndefineSecretOptions): Promise<void>
  /** Gives it a value, encrypted where it is kept. What runs goes on with the one before. */
  setValue?(secret: string, options: SecretValue & CallOptions): Promise<void>
  /** Its value; `denied` for a private one, `invalid-state` when it has none. */
  getValue?(secret: string): Promise<SecretValue>
}

export const secretOperations = {
  list: { access: 'read', doc: 'All secrets, without their values.', result: s.array('secrets', Secret) },
  get: { access: 'read', doc: 'A secret, without its value.', key: 'secret', result: Secret },
  describe: {
    access: 'read',
    doc: 'The definition of a secret.',
    key: 'secret',
    result: SecretDefinition,
  },
  define: {
    access: 'admin',
    doc: 'Makes a secret known, or replaces what is said of it.',
    options: SecretDefinition,
    result: Secret,
  },
  undefine: {
    access: 'admin',
    doc: 'Forgets a secret and its value.',
    key: 'secret',
    options: s.object('UndefineSecret', 'How', {
      force: s.boolean('also while a volume or pool needs it', { optional: true }),
    }),
  },
  setValue: { access: 'admin', doc: 'Gives a secret a value.', key: 'secret', options: SecretValue },
  getValue: { access: 'admin', doc: 'The value of a secret.', key: 'secret', result: SecretValue },
} as const satisfies PartTable<Secrets>

/** How a definition names a secret. */
export interface SecretReference {
  readonly uuid?: string | undefined
  /** The name of what it is for. */
  readonly usage?: string | undefined
}
