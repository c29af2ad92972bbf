/** Folders of the host that the guest sees. Source: libvirt's "Domain XML format", devices. */
import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, deviceOrder } from './common.ts'

const onOff = <const X extends string>(doc: string, xml: X) =>
  s.boolean(doc, { xml, as: 'on-off', optional: true })
const octal = { pattern: /^0?[0-7]{1,4}$/u, patternName: "an octal mode such as '0644'" } as const

export const Filesystem = s.object(
  'Filesystem',
  'A folder of the host that the guest sees',
  {
    type: s.choice('kind of source', ['mount', 'template', 'file', 'block', 'ram', 'bind', 'volume'], {
      xml: '@type',
      default: 'mount',
    }),
    accessMode: s.choice('whose rights count', ['passthrough', 'mapped', 'squash'], {
      xml: '@accessmode',
      default: 'passthrough',
    }),
    model: s.choice(
      'kind of virtio device',
      [...(['virtio', 'virtio-transitional', 'virtio-non-transitional'] as const)],
      { xml: '@model', optional: true },
    ),
    multiDevs: s.choice(
      'what is done when the folder has more than one file system in it',
      [...(['default', 'remap', 'forbid', 'warn'] as const)],
      { xml: '@multidevs', optional: true },
    ),
    fileMode: s.string('mode of new files (mapped)', { xml: '@fmode', optional: true, ...octal }),
    directoryMode: s.string('mode of new folders (mapped)', { xml: '@dmode', optional: true, ...octal }),
    driver: s.choice('how it is served', ['path', 'handle', 'loop', 'nbd', 'ploop', 'virtiofs'], {
      xml: 'driver/@type',
      optional: true,
    }),
    writePolicy: s.choice('when what is written reaches the disk of the host', ['immediate'], {
      xml: 'driver/@wrpolicy',
      optional: true,
    }),
    queueSize: s.integer('length of the queue (virtiofs)', {
      xml: 'driver/@queue',
      optional: true,
      min: 1,
      max: 1024,
    }),
    iommu: onOff('behind the IOMMU of the machine', 'driver/@iommu'),
    ats: onOff('address translation services', 'driver/@ats'),
    packed: onOff('packed queues', 'driver/@packed'),
    pagePerVq: onOff('a page for the notices of each queue', 'driver/@page_per_vq'),
    binary: path('program that serves it (virtiofs)', { xml: 'binary/@path', optional: true }),
    extendedAttributes: onOff('extended attributes (virtiofs)', 'binary/@xattr'),
    cache: s.choice('what the guest may keep (virtiofs)', ['none', 'auto', 'always'], {
      xml: 'binary/cache/@mode',
      optional: true,
    }),
    sandbox: s.choice('how the program is shut in (virtiofs)', ['namespace', 'chroot'], {
      xml: 'binary/sandbox/@mode',
      optional: true,
    }),
    posixLocks: onOff('locks reach the host (virtiofs)', 'binary/lock/@posix'),
    flock: onOff('flock reaches the host (virtiofs)', 'binary/lock/@flock'),
    threads: s.integer('threads of the program (virtiofs)', {
      xml: 'binary/thread_pool/@size',
      optional: true,
      min: 0,
      max: 1024,
    }),
    openFiles: s.integer('files that the program may have open (virtiofs)', {
      xml: 'binary/openfiles/@max',
      optional: true,
      min: 1,
      max: 2 ** 31,
    }),
    source: path('folder on the host', { xml: 'source/@dir', optional: true }),
    socket: path('socket of a virtiofs program that runs already', { xml: 'source/@socket', optional: true }),
    target: s.string('name by which the guest mounts it', {
      xml: 'target/@dir',
      maxLength: 255,
      pattern: /^[^\p{Cc}]+$/u,
      patternName: 'a name without control characters',
    }),
    readonly: s.boolean('write protection', { xml: 'readonly', as: 'presence', default: false }),
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words(
        '@type @accessmode @model @multidevs @fmode @dmode driver binary idmap source target readonly',
        'space_hard_limit space_soft_limit',
        deviceOrder,
      ),
      driver: words('@type @format @name @wrpolicy @queue @iommu @ats @packed @page_per_vq'),
      binary: words('@path @xattr cache sandbox lock thread_pool openfiles'),
    },
  },
)

export type Filesystem = s.Output<typeof Filesystem>
