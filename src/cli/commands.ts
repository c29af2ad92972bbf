import type { Command } from 'commander'
import type { Context } from './context.ts'

/** A file of `commands/`: adds its arguments, options and action to the command. */
export interface CommandFile {
  configure(command: Command, context: Context): void
}

export interface CommandEntry {
  readonly name: string
  /** One line for the overview. */
  readonly summary: string
  readonly group: string
  readonly load: () => Promise<CommandFile>
  readonly hidden?: true
}

const machines = 'Machines:'
const running = 'Run them:'
const looking = 'Look at them:'
const rest = 'Host and visor:'

/** Every command, in the order of the overview. The files are loaded when their command is used. */
export const commands: readonly CommandEntry[] = [
  entry('create', 'Make a machine from flags and start it', machines, () => import('./commands/create.ts')),
  entry(
    'define',
    'Make machines known from XML or YAML files',
    machines,
    () => import('./commands/define.ts'),
  ),
  entry(
    'apply',
    'Show what files would change, and change only that',
    machines,
    () => import('./commands/apply.ts'),
  ),
  entry('edit', "Change a machine's definition in an editor", machines, () => import('./commands/edit.ts')),
  entry(
    'template',
    'Keep booted machines to make running copies of',
    machines,
    () => import('./commands/template.ts'),
  ),
  entry(
    'clone',
    'Copy a machine, or make running copies of a template',
    machines,
    () => import('./commands/clone.ts'),
  ),
  entry('undefine', 'Forget a machine', machines, () => import('./commands/undefine.ts')),
  entry(
    'autostart',
    'Start a machine with the daemon, or no longer',
    machines,
    () => import('./commands/autostart.ts'),
  ),
  entry(
    'protect',
    'Keep a machine from being undefined or started',
    machines,
    () => import('./commands/protect.ts'),
  ),
  entry(
    'limits',
    'Set limits on what a machine takes of its host',
    machines,
    () => import('./commands/limits.ts'),
  ),
  entry('import', 'Make a machine of an OVA or OVF', machines, () => import('./commands/import.ts')),
  entry('export', 'Save a machine as an OVA', machines, () => import('./commands/export.ts')),
  entry('image', 'Build and list what machines boot from', machines, () => import('./commands/image.ts')),
  entry('volume', 'Make and list the disks of machines', machines, () => import('./commands/volume.ts')),
  entry('pool', 'Make pools of storage that disks are in', machines, () => import('./commands/pool.ts')),
  entry(
    'secret',
    'Keep passphrases of disks and passwords of servers',
    machines,
    () => import('./commands/secret.ts'),
  ),
  entry(
    'publish',
    'Make ports of this host lead to a machine',
    machines,
    () => import('./commands/publish.ts'),
  ),
  entry('unpublish', 'Take such ports back', machines, () => import('./commands/unpublish.ts')),
  entry('network', 'Make networks that machines are on', machines, () => import('./commands/network.ts')),
  entry(
    'host-bridge',
    'Make a bridge from a network card of this host',
    machines,
    () => import('./commands/host-bridge.ts'),
  ),
  entry(
    'nwfilter',
    'Make filters of what machines send and get',
    machines,
    () => import('./commands/nwfilter.ts'),
  ),
  entry(
    'group',
    'Say who gets in to machines that belong together',
    machines,
    () => import('./commands/group.ts'),
  ),
  entry(
    'snapshot',
    'Keep machines as they are, and take them back',
    machines,
    () => import('./commands/snapshot.ts'),
  ),
  entry(
    'schedule',
    'Take snapshots again and again, and let them expire',
    machines,
    () => import('./commands/schedule.ts'),
  ),
  entry('block', 'Move, join, copy and enlarge disks', machines, () => import('./commands/block.ts')),
  entry('backup', 'Copy disks while they are in use', machines, () => import('./commands/backup.ts')),
  entry(
    'checkpoint',
    'Remember what is written, for backups',
    machines,
    () => import('./commands/checkpoint.ts'),
  ),

  entry('start', 'Start a machine', running, () => import('./commands/start.ts')),
  entry('stop', 'Ask a machine to power off, and wait for it', running, () => import('./commands/stop.ts')),
  entry('reboot', 'Ask a machine to reboot', running, () => import('./commands/reboot.ts')),
  entry('suspend', 'Stop the processors of a machine', running, () => import('./commands/suspend.ts')),
  entry('resume', 'Let the processors go on', running, () => import('./commands/resume.ts')),
  entry('save', 'Keep the running state on disk and power off', running, () => import('./commands/save.ts')),
  entry('restore', 'Go on from a saved state', running, () => import('./commands/restore.ts')),
  entry('discard-saved', 'Drop a saved state', running, () => import('./commands/discard-saved.ts')),
  entry('migrate', 'Move a machine to another host', running, () => import('./commands/migrate.ts')),
  entry('migrate-set', 'Change a migration under way', running, () => import('./commands/migrate-set.ts')),
  entry('attach', 'Plug devices in, also while it runs', running, () => import('./commands/attach.ts')),
  entry('detach', 'Unplug devices', running, () => import('./commands/detach.ts')),
  entry('change-media', 'Change the medium of a drive', running, () => import('./commands/change-media.ts')),
  entry('setvcpus', 'Set the number of processors', running, () => import('./commands/setvcpus.ts')),
  entry('setmem', 'Give the guest more or less memory', running, () => import('./commands/setmem.ts')),
  entry(
    'iothread',
    'Add, change or remove a thread that serves disks',
    running,
    () => import('./commands/iothread.ts'),
  ),
  entry('pin', 'Say where threads of a machine run', running, () => import('./commands/pin.ts')),
  hidden('setmaxmem', 'Set the most memory', running, () => import('./commands/setmaxmem.ts')),
  hidden(
    'attach-device',
    'Plug in what a file describes',
    running,
    () => import('./commands/attach-device.ts'),
  ),
  hidden(
    'detach-device',
    'Unplug what a file describes',
    running,
    () => import('./commands/detach-device.ts'),
  ),
  hidden(
    'update-device',
    'Change a device as a file describes it',
    running,
    () => import('./commands/update-device.ts'),
  ),
  hidden('attach-disk', 'Plug a disk in', running, () => import('./commands/attach-disk.ts')),
  hidden('detach-disk', 'Unplug a disk', running, () => import('./commands/detach-disk.ts')),
  hidden(
    'attach-interface',
    'Plug a network card in',
    running,
    () => import('./commands/attach-interface.ts'),
  ),
  hidden(
    'detach-interface',
    'Unplug a network card',
    running,
    () => import('./commands/detach-interface.ts'),
  ),
  hidden(
    'domif-setlink',
    'Pull the cable of a network card, or plug it in',
    running,
    () => import('./commands/domif-setlink.ts'),
  ),
  hidden(
    'blkdeviotune',
    'Show or set the limits of a disk',
    running,
    () => import('./commands/blkdeviotune.ts'),
  ),
  hidden('vol-upload', 'Write a file into a volume', machines, () => import('./commands/vol-upload.ts')),
  hidden('vol-download', 'Save a volume to a file', machines, () => import('./commands/vol-download.ts')),
  entry('reset', 'Press the reset button', running, () => import('./commands/reset.ts')),
  entry('destroy', 'Take the power away', running, () => import('./commands/destroy.ts')),

  entry('list', 'List machines and their states', looking, () => import('./commands/list.ts')),
  entry('show', 'Show a machine, or its XML or YAML', looking, () => import('./commands/show.ts')),
  entry('console', 'Use the serial console', looking, () => import('./commands/console.ts')),
  entry('screenshot', 'Save the screen as a picture', looking, () => import('./commands/screenshot.ts')),
  entry('domdisplay', 'Print where its screens are', looking, () => import('./commands/domdisplay.ts')),
  entry(
    'screen-password',
    'Change the password of a screen',
    looking,
    () => import('./commands/screen-password.ts'),
  ),
  entry('sendkey', 'Press keys of a machine', looking, () => import('./commands/sendkey.ts')),
  entry('nmi', 'Send a non-maskable interrupt', looking, () => import('./commands/nmi.ts')),
  entry('exec', 'Run a program in a machine', looking, () => import('./commands/exec.ts')),
  entry('cp', 'Copy files into and out of a machine', looking, () => import('./commands/cp.ts')),
  entry('ssh', 'Log in to a machine', looking, () => import('./commands/ssh.ts')),
  entry('guest', 'Talk to the agent in a guest', looking, () => import('./commands/guest.ts')),
  entry('stats', 'Show what machines use', looking, () => import('./commands/stats.ts')),
  entry('events', 'Follow what happens', looking, () => import('./commands/events.ts')),
  entry(
    'dommemstat',
    'Show what its guest uses of memory',
    looking,
    () => import('./commands/dommemstat.ts'),
  ),
  entry('domblklist', 'List the disks of a machine', looking, () => import('./commands/domblklist.ts')),
  entry('domiflist', 'List its network cards', looking, () => import('./commands/domiflist.ts')),
  entry('domifaddr', 'Show the addresses of a machine', looking, () => import('./commands/domifaddr.ts')),
  entry('wait', 'Wait until a machine has booted, or answers', looking, () => import('./commands/wait.ts')),
  entry('timeline', 'Show where the time of a start went', looking, () => import('./commands/timeline.ts')),
  entry('dump', 'Write the memory to a file for a debugger', looking, () => import('./commands/dump.ts')),
  entry('jobs', 'Watch and cancel long operations', looking, () => import('./commands/jobs.ts')),

  entry('doctor', 'Say what this host can do and what to change', rest, () => import('./commands/doctor.ts')),
  entry('host', 'Show the host', rest, () => import('./commands/host.ts')),
  entry('drivers', 'Show what can run machines here', rest, () => import('./commands/drivers.ts')),
  entry(
    'completion',
    'Print the completion script of a shell',
    rest,
    () => import('./commands/completion.ts'),
  ),
  entry('version', 'Show versions', rest, () => import('./commands/version.ts')),
  {
    ...entry('complete', 'Suggest words to a shell', rest, () => import('./commands/complete.ts')),
    hidden: true,
  },
]

function entry(name: string, summary: string, group: string, load: () => Promise<CommandFile>): CommandEntry {
  return { name, summary, group, load }
}

/** What virsh calls it; the overview shows our own word for it. */
function hidden(
  name: string,
  summary: string,
  group: string,
  load: () => Promise<CommandFile>,
): CommandEntry {
  return { ...entry(name, summary, group, load), hidden: true }
}
