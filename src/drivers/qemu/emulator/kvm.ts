/**
 * Whether KVM truly works: told by a tiny guest that has to arrive within a deadline. That /dev/kvm can be
 * opened proves nothing: there are hosts whose KVM emulates a guest's kernel instruction by instruction.
 */
import { access, constants, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Log, Store } from '../../../driver/index.ts'
import { type FileUser, hostFiles, readProcessor, run } from '../../../host/index.ts'
import { toVisorError, VisorError } from '../../../model/index.ts'
import { fingerprint } from './emulator.ts'
import { asProbeUser } from './probe-user.ts'

export interface KvmState {
  readonly works: boolean
  /** A sentence: what was seen. */
  readonly detail: string
  readonly remedy?: string
  /** Why the tiny guest was run as root: as anybody else it did not start. */
  readonly asRoot?: string
}

/** Time for 20 million instructions and the boot: a processor needs about a tenth of it. */
const deadlineMs = 2_500

/**
 * The tiny guest: a boot sector that prints a letter to COM1 as it arrives in real mode (R), protected mode
 * (P), long mode with paging (L) and at the end of 20 million rounds of a loop that counts in memory (S),
 * and then ends the machine by port 0xf4:
 *
 *     R; page tables for 2 MiB at 0x1000, 0x2000, 0x3000; lgdt; cr0.PE; P; cr3; cr4.PAE; EFER.LME; cr0.PG;
 *     L; mov rcx, 20000000; again: add [0x9000], rcx; dec rcx; jnz again; S; out 0xf4, al; hlt
 */
const bootSector =
  '+jHAjtiOwI7QvAB8uvgDsFLu/L8AEGYxwLkADGbzq2bHBgAQAyAAAGbHBgAgAzAAAGbHBgAwgwAAAA8BFth8DyDADAEPIsDqTHwIAGa4' +
  'EACO2I7QZrr4A7BQ7rgAEAAADyLYDyDgg8ggDyLguYAAAMAPMg0AAQAADzAPIMANAAAAgA8iwOqMfAAAGABmuvgDsEzuSMfBAC0xAUjH' +
  'xgCQAABIAQ5I/8l1+LBT7ma69ADu9Ov9Dx9AAAAAAAAAAAAA//8AAACazwD//wAAAJLPAP//AAAAmq8AHwC4fA=='

/** A disk whose first sector is the program, large enough for any firmware to boot from. */
export function bootDisk(program: string, bytes = 1024 * 1024): Uint8Array {
  const disk = new Uint8Array(bytes)
  disk.set(Buffer.from(program, 'base64'))
  disk.set([0x55, 0xaa], 510)
  return disk
}

/** The letters that the tiny guest got to, and what QEMU said when it failed by itself. */
export async function runTinyGuest(
  emulator: string,
  accelerator: readonly string[],
  signal?: AbortSignal,
): Promise<TinyRun> {
  const directory = await mkdtemp(join(tmpdir(), 'visor-kvm-'))
  try {
    const disk = join(directory, 'disk')
    await writeFile(disk, bootDisk(bootSector), { mode: 0o600 })
    const files = [
      { path: disk, write: true },
      ...(emulator.startsWith('/') ? [{ path: emulator, execute: true, what: 'program' }] : []),
      ...(accelerator.includes('kvm') ? [{ path: '/dev/kvm', write: true, what: 'device' }] : []),
    ]
    const runAs = (user?: FileUser) => runWithDisk(emulator, accelerator, disk, { user, signal })
    const { result, asRoot } = await asProbeUser(files, async (user) => {
      const seen = await runAs(user)
      // Whether that is for want of rights shows when root does it.
      if (user && seen.failure !== '') throw new VisorError('failed', seen.failure)
      return seen
    })
    return asRoot === undefined ? result : { ...result, asRoot }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

interface TinyRun {
  readonly letters: string
  readonly failure: string
  /** Why it was run as root. */
  readonly asRoot?: string
}

async function runWithDisk(
  emulator: string,
  accelerator: readonly string[],
  disk: string,
  { user, signal }: { readonly user: FileUser | undefined; readonly signal: AbortSignal | undefined },
): Promise<TinyRun> {
  const args = [...accelerator, '-M', 'pc', '-m', '16', '-nodefaults', '-no-user-config', '-display', 'none']
  args.push(
    '-blockdev',
    JSON.stringify({ driver: 'raw', 'node-name': 'd', file: { driver: 'file', filename: disk } }),
  )
  args.push('-device', 'ide-hd,drive=d,bootindex=1', '-device', 'isa-debug-exit,iobase=0xf4')
  args.push('-chardev', 'stdio,id=serial,signal=off', '-device', 'isa-serial,chardev=serial')
  // The program `timeout` keeps what was printed until then; ours is for a QEMU that cannot be ended.
  const bounded = ['-k', '1', String(deadlineMs / 1000), emulator, ...args]
  const limits = {
    cwd: '/',
    timeoutMs: deadlineMs + 5_000,
    ...(user ? { user } : {}),
    ...(signal ? { signal } : {}),
  }
  const { code, stdout, stderr } = await run('timeout', bounded, limits)
  const givenUp = code === 124 || code === 137
  const ended = stdout.includes('S')
  const said = stderr.trim().split('\n').at(-1) || `exit code ${code}.`
  return { letters: stdout.replace(/[^RPLS]/gu, ''), failure: givenUp || ended ? '' : said }
}

/** Whether KVM works with this emulator; tries it, in at most some seconds. */
export async function tryKvm(emulator: string, signal?: AbortSignal): Promise<KvmState> {
  const missing = await checkDevice()
  if (missing) return missing
  const { letters, failure, asRoot } = await runTinyGuest(
    emulator,
    ['-accel', 'kvm', '-cpu', 'qemu64'],
    signal,
  ).catch((error: unknown) => ({ letters: '', failure: toVisorError(error).message, asRoot: undefined }))
  const state = judge(letters, failure, hasExtension())
  // One that fails for root too says so itself.
  return asRoot === undefined || failure !== '' ? state : { ...state, asRoot }
}

/** What the letters mean. `failure` is empty when the guest ended by itself or was given up. */
export function judge(letters: string, failure: string, extension: boolean): KvmState {
  if (letters === 'RPLS' && extension)
    return { works: true, detail: 'A tiny guest reached 64-bit mode and ran at full speed.' }
  if (failure !== '')
    return {
      works: false,
      detail: `A tiny guest did not start: ${failure}`,
      remedy: 'See the kernel log (dmesg) for what KVM says; until then guests are emulated (TCG).',
    }
  const shows = extension ? '' : ', and the processor shows neither vmx nor svm'
  return {
    works: false,
    detail:
      letters === 'RPLS'
        ? `A tiny guest ran${shows}: a kernel cannot be expected to.`
        : `A tiny guest came to ${places[letters.at(-1) ?? '']}, but not to its end within ${deadlineMs / 1000} s${shows}: this KVM emulates its guests instruction by instruction.`,
    remedy:
      'Use a host whose processor shows vmx or svm in /proc/cpuinfo; until then guests are emulated (TCG).',
  }
}

const places: Readonly<Record<string, string>> = {
  '': 'its firmware',
  R: '16-bit mode',
  P: '32-bit mode',
  L: '64-bit mode',
}

/** As {@link tryKvm}, remembered until the emulator, the kernel or the device changes. */
export async function loadKvm(store: Store, log: Log, emulator: string): Promise<KvmState> {
  const missing = await checkDevice()
  if (missing) return missing
  // No outcome of a try would change what is decided, and it takes seconds.
  if (!hasExtension()) return noExtension
  const key = `qemu/kvm${emulator}`
  const print = `${await fingerprint(emulator)}:${release()}`
  const known = (await store.get(key))?.value as { print: string; state: KvmState } | undefined
  if (known?.print === print) return known.state
  const state = await tryKvm(emulator)
  if (state.asRoot !== undefined)
    log.warn({ emulator, reason: state.asRoot }, 'KVM was tried as root: it was not had as anybody else.')
  await store.write([{ key, value: { print, state } }])
  return state
}

const noExtension: KvmState = {
  works: false,
  detail:
    'There is a /dev/kvm, but the processor shows neither vmx nor svm: a guest kernel cannot be expected to run.',
  remedy:
    'Use a host whose processor shows vmx or svm in /proc/cpuinfo; until then guests are emulated (TCG).',
}

function hasExtension(): boolean {
  const { flags } = readProcessor(hostFiles())
  return flags.has('vmx') || flags.has('svm')
}

async function checkDevice(): Promise<KvmState | undefined> {
  try {
    await access('/dev/kvm', constants.F_OK)
  } catch {
    return {
      works: false,
      detail: 'There is no /dev/kvm: the kernel has no KVM, or the processor or firmware does not offer it.',
      remedy: "Switch virtualization on in the firmware and load kvm_intel or kvm_amd; see 'visor doctor'.",
    }
  }
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK)
    return undefined
  } catch {
    return {
      works: false,
      detail: 'This user may not use /dev/kvm.',
      remedy: "Add the user to the group of /dev/kvm: 'sudo usermod -aG kvm $USER', and log in again.",
    }
  }
}
