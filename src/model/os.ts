/** How the machine boots. Source: libvirt's "Domain XML format", operating system booting and SMBIOS. */
import { path, unknown, words } from './domain-words.ts'
import * as s from './schema.ts'

const bootDevice = s.choice('device', ['hd', 'cdrom', 'network', 'fd'])

const FirmwareFeature = s.object('FirmwareFeature', 'What the firmware must or must not have', {
  enabled: s.boolean('whether it must be there', { xml: '@enabled', as: 'yes-no' }),
  name: s.choice('name', ['secure-boot', 'enrolled-keys'], { xml: '@name' }),
  unknown,
})

export const OperatingSystem = s.object(
  'OperatingSystem',
  'Way the machine boots',
  {
    type: s.choice('kind of guest', ['hvm'], { xml: 'type', default: 'hvm' }),
    arch: s.string('architecture', {
      xml: 'type/@arch',
      optional: true,
      generated: true,
      maxLength: 32,
      pattern: /^[a-z0-9_]+$/u,
      patternName: 'an architecture',
    }),
    machine: s.string('machine type', {
      xml: 'type/@machine',
      optional: true,
      generated: true,
      maxLength: 64,
      pattern: /^[\w.-]+$/u,
      patternName: 'a machine type',
    }),
    firmware: s.choice('kind of firmware; chosen from those installed', ['bios', 'efi'], {
      xml: '@firmware',
      optional: true,
    }),
    firmwareFeatures: s.array('what the firmware must have', FirmwareFeature, {
      xml: 'firmware/feature',
      default: [],
      maxItems: 8,
      key: ['name'],
    }),
    loader: path('program of the firmware', { xml: 'loader', optional: true }),
    loaderReadonly: s.boolean('whether the guest cannot write to it', {
      xml: 'loader/@readonly',
      as: 'yes-no',
      optional: true,
    }),
    loaderType: s.choice('kind of chip it is in', ['rom', 'pflash'], { xml: 'loader/@type', optional: true }),
    loaderSecure: s.boolean('whether only trusted code may change its variables', {
      xml: 'loader/@secure',
      as: 'yes-no',
      optional: true,
    }),
    loaderStateless: s.boolean('no place for variables of its own', {
      xml: 'loader/@stateless',
      as: 'yes-no',
      optional: true,
    }),
    loaderFormat: s.choice('format of its file', ['raw', 'qcow2'], { xml: 'loader/@format', optional: true }),
    nvram: path('file of its variables', { xml: 'nvram', optional: true }),
    nvramTemplate: path('file that new variables are made from', { xml: 'nvram/@template', optional: true }),
    nvramFormat: s.choice('format of the file of its variables', ['raw', 'qcow2'], {
      xml: 'nvram/@format',
      optional: true,
    }),
    kernel: path('kernel to boot directly', { xml: 'kernel', optional: true }),
    initrd: path('initial RAM disk of the kernel', { xml: 'initrd', optional: true }),
    commandLine: s.string('command line of the kernel', { xml: 'cmdline', optional: true, maxLength: 4096 }),
    deviceTree: path('device tree of the machine', { xml: 'dtb', optional: true }),
    acpiTable: path('ACPI table that is added', { xml: 'acpi/table', optional: true }),
    acpiTableType: s.choice('kind of table', ['slic'], { xml: 'acpi/table/@type', optional: true }),
    boot: s.array('devices to boot from, in order', bootDevice, {
      xml: 'boot/@dev',
      default: [],
      maxItems: 4,
    }),
    bootMenu: s.boolean('menu of boot devices at start', {
      xml: 'bootmenu/@enable',
      as: 'yes-no',
      optional: true,
    }),
    bootMenuTimeoutMs: s.integer('time the menu waits', {
      xml: 'bootmenu/@timeout',
      optional: true,
      min: 0,
      max: 65_535,
    }),
    biosSerial: s.boolean('firmware messages on the first serial port', {
      xml: 'bios/@useserial',
      as: 'yes-no',
      optional: true,
    }),
    rebootTimeoutMs: s.integer('time until the firmware tries again when nothing boots; -1 for never', {
      xml: 'bios/@rebootTimeout',
      optional: true,
      min: -1,
      max: 65_535,
    }),
    smbios: s.choice("origin of the machine's own description (SMBIOS)", ['emulate', 'host', 'sysinfo'], {
      xml: 'smbios/@mode',
      optional: true,
    }),
    unknown,
  },
  {
    order: {
      '.': words(
        '@firmware type firmware init initarg initenv initdir inituser initgroup',
        'loader nvram kernel initrd cmdline dtb acpi boot bootmenu bios smbios',
      ),
      loader: ['@readonly', '@secure', '@type', '@stateless', '@format'],
      nvram: ['@type', '@template', '@format'],
    },
  },
)

const Entry = s.object('SystemEntry', 'One named text', {
  name: s.string('name; oem strings have none', {
    xml: '@name',
    optional: true,
    maxLength: 56,
    pattern: /^[\w./+-]+$/u,
    patternName: 'a name',
  }),
  file: path('file whose content is given to the guest', { xml: '@file', optional: true }),
  value: s.string('text', { xml: '.', optional: true, maxLength: 65_536 }),
  unknown,
})
const entries = (doc: string, xml: string) =>
  s.array(doc, Entry, { xml: `${xml}/entry`, default: [], maxItems: 64 })

export const SystemInformation = s.object('SystemInformation', 'What the guest reads about its machine', {
  type: s.choice('way it is told', ['smbios', 'fwcfg'], { xml: '@type' }),
  bios: entries('firmware', 'bios'),
  system: entries('machine', 'system'),
  baseBoard: entries('main board', 'baseBoard'),
  chassis: entries('case', 'chassis'),
  oemStrings: entries('any texts', 'oemStrings'),
  files: s.array('files of the firmware interface (fwcfg)', Entry, {
    xml: 'entry',
    default: [],
    maxItems: 64,
  }),
  unknown,
})

export type OperatingSystem = s.Output<typeof OperatingSystem>
export type SystemInformation = s.Output<typeof SystemInformation>
