/** The secrets of this host: what is said of them in the store, their values encrypted beside it. */

import { isUtf8 } from 'node:buffer'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EventHub, SecretReference, Secrets, Store } from '../../driver/index.ts'
import {
  checkSecretDefinition,
  maxSecretBytes,
  notFound,
  parse,
  type Secret,
  SecretDefinition,
  SecretValue,
  secretUsageName,
  VisorError,
} from '../../model/index.ts'
import { oneAtATime } from '../one-at-a-time.ts'
import { keyFileOf, readKey, seal, unseal } from './sealed.ts'

export interface OpenSecretsOptions {
  readonly stateDirectory: string
  readonly runtimeDirectory: string
  readonly store: Store
  readonly hub: EventHub
  /** Names of the volumes and pools that need it. */
  readonly usersOf: (secret: Secret) => readonly string[]
}

type Kept = SecretDefinition & { readonly uuid: string }
type Usage = NonNullable<SecretDefinition['usage']>['type']

/** What those who keep storage and run guests ask for. */
export interface SecretValues {
  /**
   * Of the secret that a definition names; its use must be `usage`, when it has one. Fails with `not-found`, and with
   * `invalid-state` when it has no value.
   */
  value(reference: SecretReference, usage: Usage): Promise<Buffer>
  /** The value in a file of the runtime directory that only this process' user can read, for as long as `work` takes. */
  inFile<T>(secret: string, work: (file: string) => Promise<T>): Promise<T>
  /** The same, where there may be none. */
  withFile<T>(secret: string | undefined, work: (file: string | undefined) => Promise<T>): Promise<T>
}

export interface OpenedSecrets extends SecretValues {
  readonly operations: Secrets
  /** A new secret with a value that nobody knows, for a volume that is about to be made. */
  make(volume: string): Promise<Secret>
  /** The volume is there: the secret stays for as long as one needs it. */
  keepMade(uuid: string): Promise<void>
  /** Forgets a secret that {@link make} made, when it is there; no other. */
  forgetMade(uuid: string): Promise<void>
}

const prefix = 'secret/definition/'
const valuePrefix = 'secret/value/'
const madePrefix = 'secret/made/'

export async function openSecrets(options: OpenSecretsOptions): Promise<OpenedSecrets> {
  const { store, hub, stateDirectory, runtimeDirectory, usersOf } = options
  const secrets = new Map(
    (await store.list(prefix)).map(({ value }) => {
      const one = value as Kept
      return [one.uuid, one] as const
    }),
  )
  const sealed = new Map(
    (await store.list(valuePrefix)).map(({ key, value }) => [key.slice(valuePrefix.length), value as string]),
  )
  /** Of those that are never written down. */
  const ephemeral = new Map<string, Buffer>()
  const alone = oneAtATime()
  const files = join(runtimeDirectory, 'keys')
  // What a daemon left that died at work.
  await rm(files, { recursive: true, force: true })

  const nameOf = ({ usage }: Kept) => secretUsageName(usage)
  const hasValue = (uuid: string) => sealed.has(uuid) || ephemeral.has(uuid)

  function find(secret: string): Kept {
    const found =
      secrets.get(secret.toLowerCase()) ?? [...secrets.values()].find((one) => nameOf(one) === secret)
    if (!found) throw notFound('secret', secret)
    return found
  }

  function observe(one: Kept): Secret {
    const { uuid, usage, description } = one
    const name = nameOf(one)
    const seen = {
      ...{ uuid, usage: usage?.type ?? 'none', private: one.private, ephemeral: one.ephemeral },
      ...(name !== undefined && { name }),
      ...(description !== undefined && { description }),
      hasValue: hasValue(uuid),
      usedBy: [],
    } as const
    return { ...seen, usedBy: [...usersOf({ ...seen, usedBy: [] })] }
  }

  const tell = (type: string, one: Kept) => {
    const name = nameOf(one)
    hub.emit({ kind: 'secret', type, uuid: one.uuid, ...(name !== undefined && { name }) })
  }

  function labelOf(one: Kept): string {
    return nameOf(one) ?? one.uuid
  }

  async function setValue(one: Kept, value: Buffer): Promise<void> {
    const { uuid } = one
    if (one.ephemeral) ephemeral.set(uuid, value)
    else {
      const key = await readKey(keyFileOf(stateDirectory), { make: sealed.size === 0 })
      const content = seal(key, uuid, value)
      await store.write([{ key: valuePrefix + uuid, value: content }])
      sealed.set(uuid, content)
    }
    tell('changed', one)
  }

  async function read(one: Kept): Promise<Buffer> {
    const { uuid } = one
    const content = sealed.get(uuid)
    const value = content === undefined ? ephemeral.get(uuid) : await unsealed(uuid, content)
    if (value) return value
    throw new VisorError('invalid-state', `The secret '${labelOf(one)}' has no value.`, {
      object: { kind: 'secret', name: labelOf(one) },
      remedy: `Give it one: visor secret set-value ${uuid}${one.ephemeral ? ' (it is ephemeral: a restart of visord forgets it).' : ''}`,
    })
  }

  async function unsealed(uuid: string, content: string): Promise<Buffer> {
    const file = keyFileOf(stateDirectory)
    const key = await readKey(file, { make: false })
    try {
      return unseal(key, uuid, content)
    } catch (cause) {
      throw new VisorError('failed', `The secret '${uuid}' cannot be decrypted with the key in '${file}'.`, {
        cause,
        remedy: `Put back the key that it was encrypted with; or give it its value anew: visor secret set-value ${uuid}`,
      })
    }
  }

  async function put(one: Kept): Promise<void> {
    const { usage } = one
    const name = nameOf(one)
    const twin = [...secrets.values()].find(
      (other) =>
        other.uuid !== one.uuid &&
        name !== undefined &&
        nameOf(other) === name &&
        other.usage?.type === usage?.type,
    )
    if (twin)
      throw new VisorError(
        'already-exists',
        `There is already a secret for '${name}', with uuid ${twin.uuid}.`,
        {
          object: { kind: 'secret', name: twin.uuid },
          remedy: 'Change that one: define it with its uuid.',
        },
      )
    const before = secrets.get(one.uuid)
    if (before?.private && !one.private && hasValue(one.uuid))
      throw new VisorError(
        'invalid-state',
        `The secret '${labelOf(before)}' is private: it does not become readable.`,
        {
          object: { kind: 'secret', name: labelOf(before) },
          remedy: 'Make another secret.',
        },
      )
    // What was written down is not to be found any more, and what was not is still not.
    const moves = before !== undefined && before.ephemeral !== one.ephemeral && hasValue(one.uuid)
    const value = moves ? await read(before) : undefined
    await store.write([
      { key: prefix + one.uuid, value: one },
      ...(moves && one.ephemeral ? [{ key: valuePrefix + one.uuid, value: undefined }] : []),
    ])
    secrets.set(one.uuid, one)
    if (value) {
      sealed.delete(one.uuid)
      ephemeral.delete(one.uuid)
      await setValue(one, value)
    }
    tell(before ? 'changed' : 'defined', one)
  }

  async function forget(one: Kept): Promise<void> {
    await store.write(
      [prefix, valuePrefix, madePrefix].map((place) => ({ key: place + one.uuid, value: undefined })),
    )
    secrets.delete(one.uuid)
    sealed.delete(one.uuid)
    ephemeral.delete(one.uuid)
    tell('undefined', one)
  }

  async function inFile<T>(secret: string, work: (file: string) => Promise<T>): Promise<T> {
    const value = asPassphrase(secret, await read(find(secret)))
    await mkdir(files, { recursive: true, mode: 0o700 })
    const file = join(files, randomUUID())
    try {
      await writeFile(file, value, { mode: 0o600, flag: 'wx' })
      return await work(file)
    } finally {
      await rm(file, { force: true })
    }
  }

  // Made for volumes that a daemon before did not come to make.
  for (const { key, value } of await store.list(madePrefix)) {
    const one = secrets.get(key.slice(madePrefix.length))
    if (value === 'kept') continue
    if (one && usersOf(observe(one)).length > 0) await store.write([{ key, value: 'kept' }])
    else if (one) await forget(one)
    else await store.write([{ key, value: undefined }])
  }

  const byLabel = (a: Secret, b: Secret) => ((a.name ?? a.uuid) < (b.name ?? b.uuid) ? -1 : 1)

  return {
    operations: {
      list: async () => [...secrets.values()].map(observe).sort(byLabel),
      get: async (secret) => observe(find(secret)),
      describe: async (secret) => find(secret),
      async define({ signal: _, progress: __, onJob: ___, ...given }) {
        const definition = parse(SecretDefinition, given)
        checkSecretDefinition(definition)
        const { uuid = randomUUID() } = definition
        return alone('', async () => {
          await put({ ...definition, uuid })
          return observe(find(uuid))
        })
      },
      undefine: (secret, { force = false } = {}) =>
        alone('', async () => {
          const one = find(secret)
          const { usedBy } = observe(one)
          if (usedBy.length > 0 && !force)
            throw new VisorError(
              'invalid-state',
              `The secret '${labelOf(one)}' is needed by ${usedBy.slice(0, 5).join(', ')}.`,
              {
                object: { kind: 'secret', name: labelOf(one) },
                remedy: 'Remove those first, or force it: what is on them cannot be read then, by nobody.',
              },
            )
          await forget(one)
        }),
      async setValue(secret, given) {
        const { base64 } = parse(SecretValue, { base64: given.base64 }, { code: 'invalid-argument' })
        const value = Buffer.from(base64, 'base64')
        if (value.length === 0 || value.length > maxSecretBytes)
          throw new VisorError('invalid-argument', `A secret has 1 to ${maxSecretBytes} bytes.`, {
            path: 'base64',
          })
        await alone('', () => setValue(find(secret), value))
      },
      async getValue(secret) {
        const one = find(secret)
        if (one.private)
          throw new VisorError(
            'denied',
            `The secret '${labelOf(one)}' is private: it is only used, not told.`,
            {
              object: { kind: 'secret', name: labelOf(one) },
            },
          )
        return { base64: (await read(one)).toString('base64') }
      },
    },
    async value({ uuid, usage: name }, usage) {
      const one = find(uuid ?? name ?? '')
      const is = one.usage?.type ?? 'none'
      if (is !== 'none' && is !== usage)
        throw new VisorError(
          'invalid-state',
          `The secret '${labelOf(one)}' is for ${is}, not for ${usage}.`,
          {
            object: { kind: 'secret', name: labelOf(one) },
          },
        )
      return usage === 'volume' ? asPassphrase(labelOf(one), await read(one)) : read(one)
    },
    inFile,
    withFile: (secret, work) => (secret === undefined ? work(undefined) : inFile(secret, work)),
    make(volume) {
      return alone('', async () => {
        const isTaken = [...secrets.values()].some((one) => nameOf(one) === volume)
        const name = isTaken ? `${volume} (${randomUUID()})` : volume
        const one = {
          ...parse(SecretDefinition, { usage: { type: 'volume', volume: name } }),
          uuid: randomUUID(),
        }
        await store.write([{ key: madePrefix + one.uuid, value: 'begun' }])
        await put(one)
        await setValue(one, Buffer.from(randomBytes(32).toString('base64')))
        return observe(one)
      })
    },
    keepMade: (uuid) => store.write([{ key: madePrefix + uuid, value: 'kept' }]),
    forgetMade: (uuid) =>
      alone('', async () => {
        const one = secrets.get(uuid)
        if (one && (await store.get(madePrefix + uuid))) await forget(one)
      }),
  }
}

/** QEMU takes passphrases of images as text only (qcrypto_secret_lookup_as_utf8). */
function asPassphrase(name: string, value: Buffer): Buffer {
  if (isUtf8(value) && !value.includes(0)) return value
  throw new VisorError('unsupported-config', `The secret '${name}' is no text, as a passphrase must be.`, {
    object: { kind: 'secret', name },
    remedy: 'Give it a value in UTF-8 without zero bytes; that of other bytes as their base64.',
  })
}
