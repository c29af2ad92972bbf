/**
 * Taps: network links of this host whose other end is a process. One lives as long as somebody holds it open,
 * so nothing of it is left when its guest ends, however that happens. Source: tuntap.rst in the kernel's
 * documentation, <linux/if_tun.h>, ip-link(8).
 */
import { closeSync, constants, openSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { VisorError } from '../model/index.ts'
import { runTool } from './network-tools.ts'
import { loadCalls } from './syscall.ts'

// _IOW('T', 202, int): the same on x86-64 and arm64.
const TUNSETIFF = 0x400454ca
const IFF_TAP = 0x0002
const IFF_NO_PI = 0x1000
const IFF_VNET_HDR = 0x4000
const IFF_MULTI_QUEUE = 0x0100
const EPERM = 1
const EBUSY = 16

export interface TapOptions {
  /** Name of the link, or with `%d` for a number that is free. */
  readonly name: string
  /** Bridge that it becomes a port of. */
  readonly bridge?: string | undefined
  readonly queues?: number | undefined
  /** Largest packet, in bytes; that of the bridge when absent. */
  readonly mtu?: number | undefined
  /** Packets come as they are on a cable, and reading never waits: for a process that is no hypervisor of the kernel's. */
  readonly plain?: boolean
}

/** An open tap. */
export interface Tap {
  readonly name: string
  /** A number of an open file for each queue. */
  readonly descriptors: readonly number[]
  /** Closes them here; the link goes with the last who has it open. */
  close(): void
}

/**
 * Makes a tap, puts it into its bridge, and turns it on. Fails with `denied` without the right to, `busy`
 * when another has the name, `not-found` when there is no such bridge, else `failed`; nothing is left then.
 */
export async function openTap({ name, bridge, queues = 1, mtu, plain = false }: TapOptions): Promise<Tap> {
  if (bridge !== undefined) await checkBridge(bridge)
  const descriptors: number[] = []
  const close = () => {
    for (const fd of descriptors.splice(0)) closeSync(fd)
  }
  try {
    let actual = name
    for (let queue = 0; queue < queues; queue++) {
      descriptors.push(openTunnel(plain))
      actual = await attachTap(descriptors[queue] ?? -1, actual, queues > 1, plain)
    }
    const more = mtu === undefined ? [] : ['mtu', String(mtu)]
    await runTool('ip', [
      'link',
      'set',
      'dev',
      actual,
      ...(bridge === undefined ? [] : ['master', bridge]),
      ...more,
      'up',
    ])
    return { name: actual, descriptors: [...descriptors], close }
  } catch (error) {
    close()
    throw error
  }
}

/** The kernel's own end of virtio cards. */
const vhostPath = '/dev/vhost-net'

/** Opens it once for each queue. Fails with `unsupported-config` where it is not there or may not be used. */
export function openVhost(queues: number): number[] {
  const descriptors: number[] = []
  try {
    for (let queue = 0; queue < queues; queue++) descriptors.push(openSync(vhostPath, 'r+'))
    return descriptors
  } catch (cause) {
    for (const fd of descriptors) closeSync(fd)
    throw new VisorError('unsupported-config', `The driver 'vhost' needs '${vhostPath}': ${String(cause)}`, {
      cause,
      remedy: "Load it ('modprobe vhost_net'), or leave the driver out.",
    })
  }
}

/** Whether this process can have it. */
export function hasVhost(): boolean {
  try {
    closeSync(openSync(vhostPath, 'r+'))
    return true
  } catch {
    return false
  }
}

/** Moves a link to another bridge. Fails as {@link openTap} does. */
export async function moveToBridge(link: string, bridge: string): Promise<void> {
  await checkBridge(bridge)
  await runTool('ip', ['link', 'set', 'dev', link, 'master', bridge])
}

async function checkBridge(bridge: string): Promise<void> {
  await access(`/sys/class/net/${bridge}/bridge`).catch((cause) => {
    throw new VisorError('not-found', `There is no bridge '${bridge}' on this host.`, {
      cause,
      remedy: `Make it ('ip link add ${bridge} type bridge'), or name another.`,
    })
  })
}

function openTunnel(plain = false): number {
  try {
    return openSync('/dev/net/tun', constants.O_RDWR | (plain ? constants.O_NONBLOCK : 0))
  } catch (cause) {
    throw new VisorError('denied', "'/dev/net/tun' cannot be opened, which taps come from.", {
      cause,
      remedy: "Run visord as root, or use an interface of type 'user'.",
    })
  }
}

/** Gives an open file its link; answers with the name of that. */
export async function attachTap(
  fd: number,
  name: string,
  multiQueue: boolean,
  plain = false,
): Promise<string> {
  const { ioctl, errno } = await loadCalls()
  const request = Buffer.alloc(40)
  request.write(name, 0, 15, 'latin1')
  const flags = IFF_TAP | IFF_NO_PI | (plain ? 0 : IFF_VNET_HDR) | (multiQueue ? IFF_MULTI_QUEUE : 0)
  request.writeUInt16LE(flags, 16)
  if (ioctl(fd, TUNSETIFF, request) === 0) return request.toString('latin1', 0, 16).replace(/\0.*$/u, '')
  const number = errno()
  if (number === EPERM)
    throw new VisorError('denied', `The network link '${name}' cannot be made: it takes more rights.`, {
      remedy: "Run visord as root, or use an interface of type 'user'.",
    })
  if (number === EBUSY)
    throw new VisorError('busy', `Another has the network link '${name}'.`, {
      remedy: 'Give it another name, or none.',
    })
  throw new VisorError('failed', `The network link '${name}' cannot be made (error ${number}).`)
}
