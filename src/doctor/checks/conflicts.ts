import { lstatSync } from 'node:fs'
import { connect } from 'node:net'
import { findListeners, type HostFiles, restSocket } from '../../host/index.ts'
import type { CheckTable, Finding, Subject } from '../subject.ts'
import { checkGuestNames } from './guest-names.ts'

export const conflicts: CheckTable = {
  id: 'conflicts',
  title: 'Sockets, ports and neighbours',
  checks: {
    'visord-socket': checkSocket,
    'visord-port': checkPort,
    'guest-names': checkGuestNames,
    libvirtd: checkLibvirt,
  },
}

async function checkSocket({ directories }: Subject): Promise<Finding> {
  const title = "visord's socket"
  const path = restSocket(directories)
  const state = await knock(path)
  switch (state) {
    case 'answered':
      return { title, status: 'pass', detail: `visord answers at ${path}.` }
    case 'absent':
      return {
        title,
        status: 'info',
        detail: `visord does not run: there is no ${path}.`,
        remedy: 'To start it, run: visord',
      }
    case 'refused':
      return {
        title,
        status: 'warn',
        detail: `${path} is left over from a visord that died; nothing listens there.`,
        remedy: 'Start visord: it replaces the socket.',
      }
    case 'denied':
      return {
        title,
        status: 'warn',
        detail: `${path} is there, but this user may not use it.`,
        remedy: 'Join the group that owns the socket, or run as root.',
      }
    default:
      return {
        title,
        status: 'fail',
        detail: `${path} is there but is no socket that can be used: ${state}`,
        remedy: `Move ${path} away, or set VISOR_RUNTIME_DIR to another directory.`,
      }
  }
}

/** Connects and leaves again; says nothing. */
function knock(path: string): Promise<string> {
  // Connecting to something that is no socket is refused just like one that nobody listens on.
  const kind = lstatSync(path, { throwIfNoEntry: false })
  if (kind === undefined) return Promise.resolve('absent')
  if (!kind.isSocket()) return Promise.resolve('it is not a socket.')
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.setTimeout(2000, () => finish('nobody accepts the connection.'))
    socket.once('connect', () => finish('answered'))
    socket.once('error', ({ code, message }: NodeJS.ErrnoException) => {
      const states: Readonly<Record<string, string>> = {
        ENOENT: 'absent',
        ECONNREFUSED: 'refused',
        EACCES: 'denied',
      }
      finish(states[code ?? ''] ?? `${message}.`)
    })
    function finish(state: string): void {
      socket.destroy()
      resolve(state)
    }
  })
}

function checkPort({ files, tcpPort }: Subject): Finding {
  const title = `TCP port ${tcpPort}`
  const listeners = findListeners(files, tcpPort)
  if (listeners.length === 0) return { title, status: 'pass', detail: 'Free for visord.' }
  const owner = findOwner(files, new Set(listeners.map(({ inode }) => inode)))
  const addresses = [...new Set(listeners.map(({ address }) => address))].join(', ')
  if (owner && /visord/u.test(owner.command))
    return { title, status: 'pass', detail: `visord (process ${owner.pid}) listens on ${addresses}.` }
  return {
    title,
    status: 'info',
    detail: `Taken on ${addresses} by ${owner ? `process ${owner.pid} (${owner.command})` : "another user's process"}; visord then takes another, unless its configuration asks for this one.`,
    remedy: "Stop that process, or set 'listen' in visord's configuration to another port.",
  }
}

/** The process that holds one of these sockets, as far as this user may see. */
function findOwner(
  files: HostFiles,
  inodes: ReadonlySet<string>,
): { pid: number; command: string } | undefined {
  for (const pid of files.list('/proc').filter((name) => /^\d+$/u.test(name))) {
    const holds = files
      .list(`/proc/${pid}/fd`)
      .some((fd) =>
        inodes.has(/^socket:\[(\d+)\]$/u.exec(files.readLink(`/proc/${pid}/fd/${fd}`) ?? '')?.[1] ?? ''),
      )
    if (!holds) continue
    const command = (files.read(`/proc/${pid}/cmdline`) ?? '').split('\0').slice(0, 2).join(' ').trim()
    return { pid: Number(pid), command: command.slice(0, 80) || 'unknown' }
  }
  return undefined
}

function checkLibvirt({ files }: Subject): Finding {
  const title = 'libvirt'
  const sockets = ['libvirt-sock', 'virtqemud-sock'].filter((name) => files.exists(`/run/libvirt/${name}`))
  const running = ['libvirtd.pid', 'virtqemud.pid'].some((name) => {
    const pid = files.read(`/run/${name}`)?.trim()
    return pid !== undefined && files.exists(`/proc/${pid}`)
  })
  if (!running && sockets.length === 0)
    return { title, status: 'pass', detail: 'It does not run here, so nothing is shared.' }
  return {
    title,
    status: 'info',
    detail: running
      ? 'libvirt runs here too. Both work side by side: guests of one are not seen by the other, and memory and bridges are shared.'
      : "libvirt's sockets are there, but its daemon does not run.",
    remedy:
      'To be rid of it, run as root: systemctl disable --now libvirtd.socket libvirtd virtqemud.socket virtqemud',
  }
}
