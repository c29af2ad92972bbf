/** Other names of commands: short ones, and those that users of virsh have in their fingers. */
export const aliases: Readonly<Record<string, readonly string[]>> = {
  ls: ['list'],
  new: ['create'],
  rm: ['undefine'],
  images: ['image', 'list'],
  logs: ['console', '--log'],
  dominfo: ['show'],
  dumpxml: ['show', '--xml'],
  domstate: ['show', '--get', 'state'],
  domuuid: ['show', '--get', 'uuid'],
  domid: ['show', '--get', 'id'],
  domname: ['show', '--get', 'name'],
  domstats: ['stats'],
  shutdown: ['stop', '--no-wait'],
  managedsave: ['save'],
  'managedsave-remove': ['discard-saved'],
  snapshots: ['snapshot', 'list'],
  'snapshot-create': ['snapshot', 'create-from'],
  'snapshot-create-as': ['snapshot', 'create'],
  'snapshot-list': ['snapshot', 'list'],
  'snapshot-dumpxml': ['snapshot', 'show', '--xml'],
  'snapshot-info': ['snapshot', 'show'],
  'snapshot-current': ['snapshot', 'show'],
  'snapshot-revert': ['snapshot', 'revert'],
  'snapshot-delete': ['snapshot', 'remove'],
  blockcommit: ['block', 'commit'],
  blockpull: ['block', 'pull'],
  blockcopy: ['block', 'copy'],
  blockresize: ['block', 'resize'],
  blockjob: ['block', 'jobs'],
  'checkpoint-create': ['checkpoint', 'create-from'],
  'checkpoint-dumpxml': ['checkpoint', 'show', '--xml'],
  'checkpoint-info': ['checkpoint', 'show'],
  'checkpoint-create-as': ['checkpoint', 'create'],
  'checkpoint-list': ['checkpoint', 'list'],
  'checkpoint-delete': ['checkpoint', 'remove'],
  'backup-begin': ['backup'],
  domfsfreeze: ['guest', 'freeze'],
  domfsthaw: ['guest', 'thaw'],
  domfstrim: ['guest', 'trim'],
  domfsinfo: ['guest', 'filesystems'],
  domhostname: ['guest', 'info'],
  guestinfo: ['guest', 'info'],
  domtime: ['guest', 'set-time'],
  iothreadadd: ['iothread'],
  iothreadset: ['iothread'],
  iothreaddel: ['iothread', '--remove'],
  schedinfo: ['limits'],
  memtune: ['limits'],
  blkiotune: ['limits'],
  'send-key': ['sendkey'],
  'inject-nmi': ['nmi'],
  eject: ['change-media', '--eject'],
  'detach-device-alias': ['detach'],
  event: ['events'],
  networks: ['network', 'list'],
  'net-list': ['network', 'list'],
  'net-info': ['network', 'show'],
  'net-dumpxml': ['network', 'show', '--xml'],
  'net-define': ['network', 'define'],
  'net-start': ['network', 'start'],
  'net-destroy': ['network', 'stop', '--force'],
  'net-undefine': ['network', 'remove'],
  'net-autostart': ['network', 'autostart'],
  'net-edit': ['network', 'edit'],
  'net-update': ['network', 'update'],
  'net-dhcp-leases': ['network', 'leases'],
  'nwfilter-list': ['nwfilter', 'list'],
  'nwfilter-define': ['nwfilter', 'define'],
  'nwfilter-dumpxml': ['nwfilter', 'show', '--xml'],
  'nwfilter-edit': ['nwfilter', 'edit'],
  'nwfilter-undefine': ['nwfilter', 'remove'],
  pools: ['pool', 'list'],
  'pool-list': ['pool', 'list'],
  'pool-info': ['pool', 'show'],
  'pool-dumpxml': ['pool', 'show', '--xml'],
  'pool-define': ['pool', 'define'],
  'pool-edit': ['pool', 'edit'],
  'pool-build': ['pool', 'build'],
  'pool-start': ['pool', 'start'],
  'pool-refresh': ['pool', 'refresh'],
  'pool-destroy': ['pool', 'stop'],
  'pool-undefine': ['pool', 'remove'],
  'pool-autostart': ['pool', 'autostart'],
  secrets: ['secret', 'list'],
  'secret-list': ['secret', 'list'],
  'secret-define': ['secret', 'define'],
  'secret-dumpxml': ['secret', 'show', '--xml'],
  'secret-set-value': ['secret', 'set-value'],
  'secret-get-value': ['secret', 'get-value', '--base64'],
  'secret-undefine': ['secret', 'remove'],
  volumes: ['volume', 'list'],
  'vol-list': ['volume', 'list'],
  'vol-info': ['volume', 'show'],
  'vol-dumpxml': ['volume', 'show', '--xml'],
  'vol-clone': ['volume', 'clone'],
  'vol-resize': ['volume', 'resize'],
  'vol-wipe': ['volume', 'wipe'],
  'vol-delete': ['volume', 'remove'],
  nodeinfo: ['host'],
  sysinfo: ['host'],
  capabilities: ['drivers'],
  domcapabilities: ['drivers'],
}

/** Words of virsh that visor spells otherwise, for the message about an unknown command. */
const elsewhere: Readonly<Record<string, string>> = {
  desc: "Change the title or description with 'visor edit'.",
  domblkstat: "'visor stats NAME' shows what the disks do.",
  domifstat: "'visor stats NAME' shows what the network does.",
  vncdisplay: "'visor show NAME' shows where the screen is.",
  ttyconsole: "'visor console NAME' opens the console.",
  domrename: "Change the name with 'visor edit NAME'.",
  'vol-create-as': "Say 'visor volume create POOL/NAME SIZE'.",
  'vol-path': "'visor volume show POOL/NAME' tells where it is.",
  'pool-create-as': "Say 'visor pool create NAME FOLDER'.",
  'qemu-monitor-command': 'Nothing stands in for it: visor keeps the monitor to itself.',
}

/** What to use instead of a command of virsh that is not there. */
export function virshRemedy(command: string): string | undefined {
  return Object.hasOwn(elsewhere, command) ? elsewhere[command] : undefined
}

/** Global flags that take a value, which is then no command. */
const valued = new Set(['-c', '--connect', '--token', '--state-dir', '--runtime-dir'])

/** Where in the arguments the command stands; -1 when there is none. */
export function findCommand(args: readonly string[]): number {
  for (let index = 0; index < args.length; index++) {
    const word = args[index] ?? ''
    if (valued.has(word)) index++
    else if (word === '--') return -1
    else if (!word.startsWith('-')) return index
  }
  return -1
}

/** The arguments with an alias replaced by what it stands for. */
export function expandAlias(args: readonly string[]): string[] {
  const index = findCommand(args)
  const word = args[index] ?? ''
  if (index < 0 || !Object.hasOwn(aliases, word)) return [...args]
  return [...args.slice(0, index), ...(aliases[word] ?? []), ...args.slice(index + 1)]
}
