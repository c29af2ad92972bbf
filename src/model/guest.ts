/** What a guest says of itself through its agent. Source: QEMU's guest agent protocol reference. */
import * as s from './schema.ts'

export const GuestInfo = s.object('GuestInfo', 'What the agent says of the guest', {
  agentVersion: s.string('version of the agent', { optional: true }),
  commands: s.array('what the agent can do', s.string('name')),
  hostname: s.string('hostname', { optional: true }),
  osName: s.string("name of the system: 'Debian GNU/Linux 12'", { optional: true }),
  kernel: s.string('version of the kernel', { optional: true }),
  timezone: s.string('name or offset of the time zone', { optional: true }),
  timeMs: s.integer('its clock, milliseconds since 1970', { optional: true }),
})
export type GuestInfo = s.Output<typeof GuestInfo>

export const GuestInterface = s.object('GuestInterface', 'A network interface as the guest has it', {
  name: s.string('name'),
  mac: s.string('hardware address', { optional: true }),
  addresses: s.array(
    'its addresses',
    s.object('GuestAddress', 'An address', {
      address: s.string('IP address'),
      family: s.choice('family', ['ipv4', 'ipv6']),
      prefix: s.integer('length of the prefix', { min: 0, max: 128 }),
    }),
  ),
})
export type GuestInterface = s.Output<typeof GuestInterface>

export const GuestFilesystem = s.object('GuestFilesystem', 'A mounted file system of the guest', {
  name: s.string('name of the device'),
  mountPoint: s.string('where it is mounted'),
  type: s.string('type'),
  usedBytes: s.integer('bytes in use', { optional: true, min: 0 }),
  totalBytes: s.integer('size', { optional: true, min: 0 }),
  disks: s.array('target names of the disks it is on', s.string('name')),
})
export type GuestFilesystem = s.Output<typeof GuestFilesystem>

export const GuestUser = s.object('GuestUser', 'Somebody logged in to the guest', {
  name: s.string('name'),
  loginAt: s.string('since when, ISO 8601'),
})
export type GuestUser = s.Output<typeof GuestUser>

export const GuestProgram = s.object('GuestProgram', 'How a program in the guest ended', {
  exitCode: s.integer('exit code', { optional: true }),
  signal: s.integer('number of the signal that ended it', { optional: true }),
  stdout: s.string('what it printed, base64', { default: '' }),
  stderr: s.string('what it printed as errors, base64', { default: '' }),
  truncated: s.boolean('whether it printed more than is kept', { default: false }),
})
export type GuestProgram = s.Output<typeof GuestProgram>
