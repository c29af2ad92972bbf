import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { type DevicesInput, formatDevice, parseDevice } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { guessFormat } from '../disk-spec.ts'
import { addExamples } from '../help.ts'

interface Flags extends AffectFlags {
  readonly targetbus?: string
  readonly subdriver?: string
  readonly cache?: string
  readonly io?: string
  readonly type?: string
  readonly sourcetype?: 'file' | 'block'
  readonly mode?: 'readonly' | 'shareable'
  readonly serial?: string
  readonly printXml?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Plug a disk in, as virsh does. visor attach says it shorter.')
    .argument('<domain>', 'name or uuid')
    .argument('<source>', "image file or block device on the daemon's host; '' for an empty drive")
    .argument('<target>', "what the guest calls it, roughly: 'vdb'")
    .option('--targetbus <bus>', 'virtio, scsi, usb, ...; that of the target without')
    .option('--subdriver <format>', 'image format; raw without, or qcow2 for a file so called')
    .option('--cache <mode>', 'host cache mode')
    .option('--io <engine>', 'native, threads, io_uring')
    .option('--type <device>', 'disk, cdrom, floppy', 'disk')
    .addOption(new Option('--sourcetype <type>', 'kind of source').choices(['file', 'block']))
    .addOption(new Option('--mode <mode>', 'how it is used').choices(['readonly', 'shareable']))
    .option('--serial <serial>', 'serial number')
    .option('--print-xml', 'only print the disk, as XML')
  addAffectFlags(command).action((domain: string, source: string, target: string, flags: Flags) =>
    attach(context, domain, buildDisk(source, target, flags), flags),
  )
  addExamples(command, [
    ['visor attach-disk web /srv/data.qcow2 vdb --live --config', 'now and at the next start'],
    ["visor attach-disk web '' sda --type cdrom --config", 'an empty drive'],
  ])
}

async function attach(context: Context, domain: string, device: DevicesInput, flags: Flags): Promise<void> {
  const parsed = parseDevice(JSON.stringify(device), 'json')
  if (flags.printXml) return context.output.print(parsed, () => formatDevice(parsed, 'xml'))
  await changeDomain(context, domain, {
    doing: 'Attaching a disk to',
    flags,
    async run({ connection, call }) {
      await connection.domains.attachDevice(domain, { ...call, device })
      return `has ${parsed.disks[0]?.target}`
    },
  })
}

function buildDisk(source: string, target: string, flags: Flags): DevicesInput {
  const type = flags.sourcetype ?? (source.startsWith('/dev/') ? 'block' : 'file')
  const disk = {
    type,
    device: flags.type,
    format: flags.subdriver ?? guessFormat(source, false),
    ...(source !== '' && { [type]: resolve(source) }),
    target,
    bus: flags.targetbus,
    cache: flags.cache,
    io: flags.io,
    serial: flags.serial,
    readonly: flags.mode === 'readonly' || flags.type === 'cdrom',
    ...(flags.mode === 'shareable' && { shareable: true }),
  }
  return { disks: [disk] } as DevicesInput
}
