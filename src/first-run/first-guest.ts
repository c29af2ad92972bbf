/** The first guest: which driver runs it, what it is made of, and how its boot is shown. */
import type { ByteStream, Connection } from '../driver/index.ts'
import {
  type Capabilities,
  type DomainDefinitionInput,
  type Image,
  kernelCommandLine,
  type Progress,
  VisorError,
} from '../model/index.ts'

export const guestName = 'first'

/** How a kind of machine is made a guest of: which image, and what hardware it knows. */
const recipes = {
  qemu: { arch: 'x86_64', memoryKiB: 256 * 1024, network: { type: 'user', model: 'virtio' } },
  v86: { arch: 'i686', memoryKiB: 128 * 1024, network: undefined },
} as const

export type GuestDriver = keyof typeof recipes

/** The driver to use and why it is not another. */
export interface Choice {
  readonly driver: GuestDriver
  /** Type of the definition: `kvm` where the hardware helps. */
  readonly type: DomainDefinitionInput['type']
  readonly remark: string
}

/** Takes the driver that was asked for, or the best that can run here. Fails with `unavailable`, with the reason. */
export function chooseDriver(all: readonly Capabilities[], asked: 'auto' | GuestDriver): Choice {
  const wanted: readonly GuestDriver[] = asked === 'auto' ? ['qemu', 'v86'] : [asked]
  const reasons: string[] = []
  for (const driver of wanted) {
    const found = all.find((one) => one.driver === driver)
    const guest = found?.guests.find(({ arch }) => arch === recipes[driver].arch) ?? found?.guests[0]
    const type = guest?.domainTypes[0]
    if (type) return { driver, type: type as Choice['type'], remark: remarkOf(driver, type, reasons) }
    const why = found?.notes[0]?.replace(/^Cannot be used on this host: /u, '')
    reasons.push(why ?? `the driver ${driver} is not open`)
  }
  throw new VisorError('unavailable', `No driver can run a guest here: ${reasons.join('; ')}`, {
    remedy: "See 'visor doctor', or use the embedded machine: npm start -- --driver v86",
  })
}

function remarkOf(driver: string, type: string, reasons: readonly string[]): string {
  const what = driver === type ? driver : `${driver}, ${type}`
  return reasons.length > 0 ? `${what}, as: ${reasons.join('; ')}` : what
}

/** The kernel and first files of the guest, from the cache or built anew. */
export async function findImage(
  { images }: Connection,
  driver: GuestDriver,
  call: { readonly progress: (progress: Progress) => void; readonly signal: AbortSignal },
): Promise<Image> {
  const image = await images?.build?.('micro', { arch: recipes[driver].arch, ...call })
  if (!image) throw new VisorError('unsupported', 'This visord keeps no images.')
  return image
}

export function defineGuest({ driver, type }: Choice, image: Image): DomainDefinitionInput {
  const { arch, memoryKiB, network } = recipes[driver]
  const { kernel, initrd } = image
  const commandLine = kernelCommandLine(image, guestName)
  return {
    type,
    name: guestName,
    title: 'The first guest, made by npm start',
    memoryKiB,
    os: {
      arch,
      ...(kernel !== undefined && { kernel }),
      ...(initrd !== undefined && { initrd }),
      ...(commandLine !== undefined && { commandLine }),
    },
    features: { acpi: true, apic: true },
    devices: { consoles: [{}], interfaces: network ? [network] : [] },
  }
}

/** Ends what a first run that was killed left running; a guest of another driver makes room for the new one. */
export async function removeEarlier({ domains }: Connection, { driver }: Choice): Promise<void> {
  const [earlier] = await domains.list({ names: [guestName] })
  if (!earlier) return
  if (earlier.state !== 'shutoff' && earlier.state !== 'crashed') await domains.destroy?.(earlier.uuid)
  if (earlier.driver !== driver) await domains.undefine?.(earlier.uuid, { savedState: true })
}

/** A shell that waits, as the micro guest's profile sets its prompt. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the shell may ask the terminal where its cursor is
const prompt = /(^|[\r\n])[\w.-]+:[~/][^\r\n]*[#$] (\x1b\[\d*n)?$/u
/** As much as is looked at for the prompt. */
const tailLength = 256

/**
 * Shows the console of the guest until its shell waits. Fails with `failed` when the console ends before,
 * `timeout` after `timeoutMs`, or `cancelled`.
 */
export async function showUntilPrompt(
  stream: ByteStream,
  show: (bytes: Uint8Array) => void,
  { signal, timeoutMs }: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  const onAbort = () => void stream.close().catch(() => {})
  limit.addEventListener('abort', onAbort, { once: true })
  const decoder = new TextDecoder()
  let tail = ''
  try {
    if (limit.aborted) onAbort()
    for await (const bytes of stream) {
      show(bytes)
      tail = (tail + decoder.decode(bytes, { stream: true })).slice(-tailLength)
      if (prompt.test(tail)) return
    }
  } finally {
    limit.removeEventListener('abort', onAbort)
    await stream.close().catch(() => {})
  }
  if (signal.aborted) throw new VisorError('cancelled', 'The boot was given up.')
  if (limit.aborted)
    throw new VisorError('timeout', `The guest had no shell within ${timeoutMs / 1000} s.`, {
      remedy: `Its console is shown by: visor console ${guestName}`,
    })
  throw new VisorError('failed', 'The console of the guest ended before its shell came.')
}

/** Ends the guest: by its power button, and when it does not listen within `patienceMs`, by its power. */
export async function endGuest({ domains }: Connection, patienceMs: number): Promise<void> {
  const isOff = async () => ['shutoff', 'crashed'].includes((await domains.get(guestName)).state)
  if (await isOff()) return
  await domains.shutdown?.(guestName).catch(() => {})
  const deadline = performance.now() + patienceMs
  while (performance.now() < deadline) {
    if (await isOff()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await domains.destroy?.(guestName)
}
