/** How many packets a link hands over at once. Source: ethtool(8), "-C"; <linux/ethtool.h>, tun.c of the kernel. */
import { VisorError } from '../model/index.ts'
import { loadCalls } from './syscall.ts'

const AF_INET = 2
const SOCK_DGRAM = 2
const SIOCETHTOOL = 0x8946
const ETHTOOL_GCOALESCE = 0x0e
const ETHTOOL_SCOALESCE = 0x0f
/** `struct ethtool_coalesce`: 23 numbers; the third is rx_max_coalesced_frames. */
const size = 23 * 4
const frames = 8

/** The most packets that a link takes together; 0 where it takes each by itself. Fails as {@link coalesceLink} does. */
export async function readCoalescing(link: string): Promise<number> {
  const said = Buffer.alloc(size)
  said.writeUInt32LE(ETHTOOL_GCOALESCE)
  await ask(link, said)
  return said.readUInt32LE(frames)
}

/**
 * Has a link take up to so many packets together, 0: each by itself. Taps can since Linux 4.12; fails with
 * `unsupported-config` for links that cannot, `failed` otherwise. It goes with the link.
 */
export async function coalesceLink(link: string, most: number): Promise<void> {
  const wanted = Buffer.alloc(size)
  wanted.writeUInt32LE(ETHTOOL_SCOALESCE)
  wanted.writeUInt32LE(most, frames)
  await ask(link, wanted)
}

async function ask(link: string, value: Buffer): Promise<void> {
  const { socket, linkControl, close, errno } = await loadCalls()
  const fd = socket(AF_INET, SOCK_DGRAM, 0)
  if (fd < 0) throw new VisorError('failed', `The link '${link}' cannot be asked (error ${errno()}).`)
  try {
    if (linkControl(fd, SIOCETHTOOL, { ifr_name: link, ifr_data: value, rest: 0 }) === 0) return
    const number = errno()
    const cannot = [EOPNOTSUPP, EINVAL].includes(number)
    throw new VisorError(
      cannot ? 'unsupported-config' : 'failed',
      cannot
        ? `The kernel does not take packets of the link '${link}' together.`
        : `The link '${link}' cannot be changed (error ${number}).`,
      cannot ? { remedy: "Leave 'coalescedFrames' out, or use a newer kernel (4.12)." } : {},
    )
  } finally {
    close(fd)
  }
}

const EINVAL = 22
const EOPNOTSUPP = 95
