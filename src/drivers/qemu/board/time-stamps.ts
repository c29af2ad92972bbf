/**
 * How fast the time stamp counter of an emulated processor runs. A PC's kernel finds out by its chips; a microvm has
 * none but a timer that an emulator on a busy host is too uneven for, and a kernel that has not found out waits for
 * ever. So it is measured here, and the kernel told, also not to compare the counter with that timer later, which on
 * a busy host makes it fall back on it and its clock go slow. Source: the kernel's admin-guide, "tsc_early_khz" and "tsc".
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endsWithUs } from '../../../host/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { bootDisk } from '../emulator/kvm.ts'
import { familyOf } from './machine-type.ts'

const parameter = 'tsc_early_khz'

/** What the kernel of a machine must be told beside its own command line; undefined for nothing. */
export async function clockParameter(
  { type, os }: CompleteDefinition,
  emulator: Emulator,
): Promise<string | undefined> {
  const isEmulated = type === 'qemu' && familyOf(os.machine ?? '') === 'microvm'
  if (!isEmulated || os.kernel === undefined || os.commandLine?.includes(parameter)) return undefined
  const known = measured.get(emulator.path) ?? measureTimeStamps(emulator.path).catch(() => undefined)
  measured.set(emulator.path, known)
  const kHz = await known
  return kHz === undefined ? undefined : `${parameter}=${kHz} tsc=reliable`
}

/** It is the host's own counter, and does not change while the host runs. */
const measured = new Map<string, Promise<number | undefined>>()

/**
 * A boot sector that says R on its serial port, and then for each character the counter, in 8 bytes:
 *
 *     R; again: until (in 0x3fd & 1); rdtsc; in 0x3f8; out 0x3f8, eax, edx; jmp again
 */
const program =
  '+jHAjtiO0LwAfLBS6CUAuv0D7KgBdPsPMWajRXxmiRZJfLr4A+y+RXy5CACs6AQA4vrr21JQuv0D7KggdPtYuvgD7lrDAAAAAAAAAAA='

const rounds = 40
const pauseMs = 15
const timeoutMs = 15_000

interface Reading {
  readonly ticks: bigint
  readonly atMs: number
  /** How long the answer took: the less, the better is known when it was. */
  readonly tookMs: number
}

/** Ticks in a millisecond. Takes most of a second; fails when the tiny guest does not answer. */
export async function measureTimeStamps(emulator: string): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'visor-ticks-'))
  const disk = join(directory, 'disk')
  await writeFile(disk, bootDisk(program))
  const args = ['-accel', 'tcg', '-M', 'pc', '-m', '16', '-nodefaults', '-no-user-config', '-display', 'none']
  args.push('-drive', `file=${disk.replaceAll(',', ',,')},format=raw,if=ide`)
  args.push('-chardev', 'stdio,id=serial,signal=off', '-device', 'isa-serial,chardev=serial')
  const [first, ...words] = await endsWithUs(emulator, args)
  const child = spawn(first, words, {
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  try {
    const answers = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const read = async (bytes: number): Promise<Buffer> => {
      let got = Buffer.alloc(0)
      while (got.length < bytes) {
        const { value, done } = await answers.next()
        if (done) throw new Error('The tiny guest ended.')
        got = Buffer.concat([got, value])
      }
      return got
    }
    await read(1)
    const readings: Reading[] = []
    for (let round = 0; round < rounds; round++) {
      const before = performance.now()
      child.stdin.write('?')
      const ticks = (await read(8)).readBigUInt64LE()
      const after = performance.now()
      readings.push({ ticks, atMs: (before + after) / 2, tookMs: after - before })
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    return rateOf(readings)
  } finally {
    child.kill('SIGKILL')
    await rm(directory, { recursive: true, force: true })
  }
}

/** From the quickest answer of the first third to that of the last. */
function rateOf(readings: readonly Reading[]): number {
  const best = (some: readonly Reading[]) => some.toSorted((a, b) => a.tookMs - b.tookMs)[0]
  const third = Math.floor(readings.length / 3)
  const [first, last] = [best(readings.slice(0, third)), best(readings.slice(-third))]
  if (!first || !last) throw new Error('Nothing was read.')
  return Math.round(Number(last.ticks - first.ticks) / (last.atMs - first.atMs))
}
