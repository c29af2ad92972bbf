import assert from 'node:assert/strict'
import {
  type ByteStream,
  type CompleteConnection,
  type OperationName,
  supports,
} from '../../src/driver/index.ts'
import type {
  Domain,
  DomainDefinitionInput,
  DomainState,
  ErrorCode,
  Event,
  VisorError,
} from '../../src/model/index.ts'

/** What the suite needs of a driver under test. */
export interface Subject {
  /** Opens the driver, behind `guard()`; after a close, on the same state. */
  open(): Promise<CompleteConnection>
  /** A small guest that runs until it is stopped. */
  makeDefinition(name: string): DomainDefinitionInput
  /** Whether definitions outlive the connection, and guests run on without it. */
  readonly persists?: boolean
  /** What the guest prints on its first serial port when it has booted. */
  readonly greeting?: string
  /** Something to type there, and what comes back. */
  readonly echo?: { readonly type: string; readonly back: string }
  /** What to type there for the guest to power itself off, and to reboot itself. */
  readonly keys?: { readonly powerOff: string; readonly reboot: string }
  /** Whether the guest follows its power button. */
  readonly powersOff?: boolean
  /** A path where a saved state may be written. */
  stateFile?(name: string): string
  /** Kills the guest behind the driver's back. */
  kill?(domain: Domain): Promise<void>
  /** Called at the very end, with all domains there were: takes away what `open` needed. */
  dispose?(uuids: readonly string[]): Promise<void>
}

/** A hanging guest or driver fails the test after this. */
const patienceMs = 60_000

/** Where a case works: the connection, and domains of its own that are gone afterwards. */
export class Bench {
  readonly subject: Subject
  private opened: CompleteConnection | undefined
  private readonly names = new Set<string>()
  private readonly uuids: string[] = []
  private readonly endings: (() => unknown)[] = []
  private count = 0

  constructor(subject: Subject) {
    this.subject = subject
  }

  get connection(): CompleteConnection {
    assert.ok(this.opened, 'The connection is closed.')
    return this.opened
  }

  get domains(): CompleteConnection['domains'] {
    return this.connection.domains
  }

  async open(): Promise<void> {
    this.opened = await this.subject.open()
  }

  async close(): Promise<void> {
    try {
      if (this.opened) await this.clear()
    } finally {
      await this.opened?.close()
      this.opened = undefined
      await this.subject.dispose?.(this.uuids)
    }
  }

  /** Closes the connection and opens the same state again; `meanwhile` is done in between. */
  async reopen(meanwhile: () => Promise<void> = async () => {}): Promise<void> {
    await this.connection.close()
    this.opened = undefined
    await meanwhile()
    await this.open()
  }

  has(name: OperationName): boolean {
    return supports(this.connection, name)
  }

  /** A name of this case's own. */
  newName(): string {
    const name = `conform-${process.pid}-${++this.count}`
    this.names.add(name)
    return name
  }

  newDefinition(): DomainDefinitionInput {
    return this.subject.makeDefinition(this.newName())
  }

  define(): Promise<Domain> {
    return this.domains.define(this.newDefinition())
  }

  async started(options: { paused?: boolean } = {}): Promise<Domain> {
    const { uuid } = await this.define()
    await this.domains.start(uuid, options)
    return this.domains.get(uuid)
  }

  /** Asserts the state of a domain, and gives it. */
  async expectState(uuid: string, state: DomainState, reason?: Domain['reason']): Promise<Domain> {
    const domain = await this.domains.get(uuid)
    assert.equal(domain.state, state, `state of ${domain.name} (reason ${domain.reason})`)
    if (reason) assert.equal(domain.reason, reason, `reason of ${domain.name}`)
    return domain
  }

  /** Waits until a domain is in a state. */
  async untilState(uuid: string, state: DomainState): Promise<Domain> {
    return until(`the state ${state}`, async () => {
      const domain = await this.domains.get(uuid)
      return domain.state === state ? domain : undefined
    })
  }

  /** Waits until the guest says that it listens, as far as it can be heard. */
  async untilBooted(uuid: string): Promise<void> {
    const { greeting } = this.subject
    if (!greeting || !this.has('domains.openConsole')) return
    const viewer = await this.openConsole(uuid, { scrollback: true })
    await viewer.untilPrinted(greeting)
    await viewer.close()
  }

  /** Hears the events of domains from now on, until the case ends. */
  listen(): Events {
    const events = new Events(this.connection)
    this.endings.push(() => events.stop())
    return events
  }

  async openConsole(uuid: string, options = {}): Promise<Viewer> {
    const viewer = new Viewer(await this.domains.openConsole(uuid, options))
    this.endings.push(() => viewer.close())
    return viewer
  }

  /** Takes away every domain of the case. */
  async clear(): Promise<void> {
    if (!this.opened) await this.open()
    for (const end of this.endings.splice(0)) await end()
    for (const { uuid, state } of await this.domains.list({ names: [...this.names] })) {
      this.uuids.push(uuid)
      if (state !== 'shutoff') await this.domains.destroy(uuid).catch(allow('invalid-state'))
      await this.domains.undefine(uuid, { savedState: true })
    }
    this.names.clear()
  }
}

/** The events of domains that came since it was made. */
export class Events {
  readonly seen: Event[] = []
  private readonly end = new AbortController()
  private readonly done: Promise<void>

  constructor(connection: CompleteConnection) {
    const source = connection.events({ signal: this.end.signal })
    this.done = (async () => {
      for await (const event of source) if (event.kind === 'domain') this.seen.push(event)
    })()
  }

  /** The types that came of a domain, in order. */
  types(uuid: string): string[] {
    return this.seen.filter((event) => event.uuid === uuid).map(({ type }) => type)
  }

  /** Waits for an event of a domain. */
  until(uuid: string, type: string): Promise<Event> {
    return until(`the event ${type}`, async () =>
      this.seen.find((event) => event.uuid === uuid && event.type === type),
    )
  }

  async stop(): Promise<void> {
    this.end.abort()
    await this.done
  }
}

/** Somebody at a console. */
export class Viewer {
  readonly stream: ByteStream
  /** Resolves when the other side closed. */
  readonly ended: Promise<void>
  private printed = ''

  constructor(stream: ByteStream) {
    this.stream = stream
    this.ended = (async () => {
      for await (const bytes of stream) this.printed += Buffer.from(bytes).toString('latin1')
    })()
  }

  get text(): string {
    return this.printed
  }

  async type(text: string): Promise<void> {
    await this.stream.write(Buffer.from(text, 'latin1'))
  }

  async untilPrinted(text: string): Promise<void> {
    await until(`'${text}' on the console`, async () => this.printed.includes(text) || undefined)
  }

  async close(): Promise<void> {
    await this.stream.close()
    await this.ended
  }
}

/** Asks again and again until there is an answer. */
export async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + patienceMs
  for (let delay = 1; performance.now() < deadline; delay = Math.min(delay * 2, 100)) {
    const answer = await ask()
    if (answer !== undefined) return answer
    await new Promise((resolve) => setTimeout(resolve, delay))
  }
  throw new Error(`Waited ${patienceMs / 1000} s in vain for ${what}.`)
}

/** Fails unless the call fails with this code, in a sentence. Gives the error. */
export async function refused(code: ErrorCode, call: Promise<unknown>): Promise<VisorError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason as VisorError,
  )
  assert.ok(error, `The call was to fail with ${code}, but went well.`)
  assert.equal(error.code, code, String(error.stack))
  assert.match(error.message, /^\S.*\.$/su, 'The message is a sentence.')
  return error
}

/** Lets errors of one code pass. */
export function allow(code: ErrorCode): (error: unknown) => void {
  return (error) => {
    if ((error as VisorError).code !== code) throw error
  }
}
