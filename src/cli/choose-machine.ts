import { type Capabilities, type DomainDefinition, VisorError } from '../model/index.ts'

export interface MachineWishes {
  readonly driver?: string | undefined
  readonly accel?: 'auto' | 'kvm' | 'tcg' | undefined
  /** Architecture asked for, or that of the image to boot. */
  readonly arch?: string | undefined
}

export interface MachineChoice {
  readonly driver: string
  readonly type: DomainDefinition['type']
  readonly arch: string
  /** Why it is slower than it could be, in sentences. */
  readonly notes: readonly string[]
}

/** An i686 guest runs on an x86_64 machine too. */
const runsOn: Readonly<Record<string, readonly string[]>> = { i686: ['i686', 'x86_64'] }

/**
 * Who shall run the machine and how: the first driver that has the architecture, with its best type unless
 * another one is asked for. Fails with `unavailable` or `unsupported-config`, saying what there is.
 */
export function chooseMachine(all: readonly Capabilities[], wishes: MachineWishes): MachineChoice {
  const { driver, accel = 'auto', arch } = wishes
  // The test driver runs nothing: it is only chosen by name, or where there is no other.
  const usual = [...all].sort((a, b) => Number(a.driver === 'test') - Number(b.driver === 'test'))
  const asked = driver === undefined ? usual : all.filter((one) => one.driver === driver)
  if (asked.length === 0) throw noDriver(all, driver)
  const wanted = arch === undefined ? undefined : (runsOn[arch] ?? [arch])
  const found = asked
    .flatMap((one) => one.guests.map((guest) => ({ one, guest })))
    .find(({ guest }) => wanted === undefined || wanted.includes(guest.arch))
  if (!found) throw noGuest(asked, arch)
  const { one, guest } = found
  const type = pickType(one, guest.domainTypes, accel)
  const slow = accel === 'auto' && type === 'qemu'
  return { driver: one.driver, type, arch: guest.arch, notes: slow ? one.notes : [] }
}

function pickType(
  { driver, notes }: Capabilities,
  types: readonly string[],
  accel: 'auto' | 'kvm' | 'tcg',
): DomainDefinition['type'] {
  const wanted = accel === 'kvm' ? 'kvm' : accel === 'tcg' && types.includes('qemu') ? 'qemu' : types[0]
  if (wanted !== undefined && types.includes(wanted)) return wanted as DomainDefinition['type']
  throw new VisorError(
    'unsupported-config',
    `Driver ${driver} cannot use KVM here. ${notes.join(' ')}`.trim(),
    {
      path: 'type',
      remedy: "Leave --accel out, or see 'visor doctor'.",
    },
  )
}

function noDriver(all: readonly Capabilities[], driver: string | undefined): VisorError {
  const names = all.map((one) => one.driver).join(', ')
  if (driver === undefined || names === '')
    return new VisorError('unavailable', 'Nothing here can run machines.', {
      remedy: "'visor doctor' says what is missing.",
    })
  return new VisorError('unavailable', `The driver '${driver}' is not open here.`, {
    remedy: `There are: ${names}. 'visor doctor' says why another one is missing.`,
  })
}

function noGuest(asked: readonly Capabilities[], arch: string | undefined): VisorError {
  const there = asked.flatMap(({ driver, guests }) => guests.map((guest) => `${guest.arch} (${driver})`))
  return new VisorError(
    'unsupported-config',
    `No driver here runs machines for ${arch ?? 'any architecture'}.`,
    {
      path: 'os.arch',
      remedy: there.length > 0 ? `They run: ${there.join(', ')}.` : "'visor doctor' says what is missing.",
    },
  )
}
