/** The cases: definitions in libvirt's XML with what libvirt made of them, and what we make of them. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DomainDefinitionInput, parseDefinition } from '../../../model/index.ts'
import { buildCommandLine } from '../definition/command-line.ts'
import { completeDefinition } from '../definition/definition.ts'
import type { DiskImage } from '../disks/disk-image.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { driverPaths } from '../paths.ts'
import { compareCommandLines } from './compare.ts'

export const goldenFolder = join(import.meta.dirname, '../../../../test/fixtures/golden')

export interface GoldenCase {
  readonly name: string
  readonly xml: string
  /** Where libvirt's command line is recorded, one argument a line. */
  readonly recording: string
}

export function goldenCases(): GoldenCase[] {
  return readdirSync(goldenFolder)
    .filter((file) => file.endsWith('.xml'))
    .sort()
    .map((file) => ({
      name: file.slice(0, -'.xml'.length),
      xml: readFileSync(join(goldenFolder, file), 'utf8'),
      recording: join(goldenFolder, file.replace(/xml$/u, 'argv')),
    }))
}

/** The arguments of libvirt's QEMU, as recorded. */
export const readRecording = ({ recording }: GoldenCase): string[] =>
  readFileSync(recording, 'utf8').trimEnd().split('\n')

/** Where an emulator is recorded. */
export const emulatorFile = (arch: string): string =>
  arch === 'x86_64' ? 'emulator.json' : `emulator-${arch}.json`

/** Our arguments for a definition, with an emulator as it was recorded. */
export const ourArguments = (xml: string): Promise<string[]> => argumentsOf(parseDefinition(xml, 'xml'))

/** The same for a definition that is written otherwise. */
export async function argumentsOf(input: DomainDefinitionInput): Promise<string[]> {
  let emulator: Emulator | undefined
  const definition = await completeDefinition(input, {
    findEmulator: async (arch) => {
      const text = readFileSync(join(goldenFolder, emulatorFile(arch)), 'utf8')
      emulator = JSON.parse(text) as Emulator
      return emulator
    },
    kvm: async () => ({ works: true, detail: '' }),
    findVirtiofsd: async (path = '/usr/libexec/virtiofsd') => ({ path, dialect: 'c', readonly: false }),
  })
  if (!emulator) throw new Error('No emulator was asked for.')
  const paths = driverPaths('/var/lib/visor', '/run/visor').of(definition.uuid)
  const images = new Map(
    definition.devices.disks.flatMap((disk): [string, DiskImage][] => {
      const path = disk.file ?? disk.block
      if (disk.type === 'network')
        return [
          [disk.alias ?? disk.target, { path: '', format: disk.format as DiskImage['format'], source: disk }],
        ]
      return path === undefined
        ? []
        : [
            [
              disk.alias ?? disk.target,
              { path, format: disk.format as DiskImage['format'], ...(disk.block && { isDevice: true }) },
            ],
          ]
    }),
  )
  return buildCommandLine({ definition, emulator, paths, images })
}

/** What differs in a case. */
export async function differencesOf(one: GoldenCase): Promise<string[]> {
  return compareCommandLines(readRecording(one), await ourArguments(one.xml))
}
