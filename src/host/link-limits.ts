/** Limits of the network links of guests. Source: tc(8), tc-htb(8), tc-police(8). */
import { VisorError } from '../model/index.ts'
import { runTool } from './network-tools.ts'

/** Limits in one direction. */
export interface LinkLimit {
  /** Kilobytes (1000 bytes) per second in the long run. */
  readonly averageKBps?: number | undefined
  /** The same, in a burst; the average when absent. */
  readonly peakKBps?: number | undefined
  /** KiB that pass at the speed of a burst. */
  readonly burstKiB?: number | undefined
}

export interface LinkLimits {
  /** What the guest behind the link receives. */
  readonly inbound?: LinkLimit | undefined
  /** What it sends. */
  readonly outbound?: LinkLimit | undefined
}

/**
 * Holds a link to limits, and to none where they are absent. Fails with `unsupported-config` where the kernel cannot,
 * `unavailable` without the program 'tc'. The limits go with the link.
 */
export async function limitLink(link: string, { inbound, outbound }: LinkLimits): Promise<void> {
  await tc(['qdisc', 'del', 'dev', link, 'root']).catch(noneYet)
  await tc(['qdisc', 'del', 'dev', link, 'ingress']).catch(noneYet)
  for (const command of [...inboundCommands(link, inbound), ...outboundCommands(link, outbound)])
    await tc(command)
}

/** What the host sends to the guest waits for its turn. */
export function inboundCommands(link: string, limit: LinkLimit | undefined): string[][] {
  if (!limit?.averageKBps) return []
  const { averageKBps, peakKBps, burstKiB } = limit
  return [
    ['qdisc', 'add', 'dev', link, 'root', 'handle', '1:', 'htb', 'default', '1'],
    [
      ...['class', 'add', 'dev', link, 'parent', '1:', 'classid', '1:1', 'htb', 'rate', `${averageKBps}kbps`],
      ...(peakKBps ? ['ceil', `${peakKBps}kbps`] : []),
      ...(burstKiB ? ['burst', `${burstKiB}kb`] : []),
    ],
  ]
}

/** What the guest sends beyond its limit is lost, which slows it down. */
export function outboundCommands(link: string, limit: LinkLimit | undefined): string[][] {
  if (!limit?.averageKBps) return []
  const { averageKBps, peakKBps, burstKiB } = limit
  return [
    ['qdisc', 'add', 'dev', link, 'ingress'],
    [
      ...[
        'filter',
        'add',
        'dev',
        link,
        'parent',
        'ffff:',
        'protocol',
        'all',
        'u32',
        'match',
        'u32',
        '0',
        '0',
      ],
      ...['police', 'rate', `${averageKBps}kbps`, 'burst', `${burstKiB || averageKBps}kb`],
      ...(peakKBps ? ['peakrate', `${peakKBps}kbps`] : []),
      // Larger than any packet of a guest that leaves the cutting of segments to the host.
      ...['mtu', '64kb', 'drop', 'flowid', ':1'],
    ],
  ]
}

async function tc(args: readonly string[]): Promise<void> {
  await runTool('tc', args).catch((error: unknown) => {
    if (!(error instanceof VisorError) || !/module|not found|unknown/u.test(error.message)) throw error
    throw new VisorError('unsupported-config', `The kernel cannot limit links so: ${error.message}`, {
      cause: error,
      remedy:
        "Load what it lacks ('modprobe sch_htb sch_ingress cls_u32 act_police'), or leave the limits out.",
    })
  })
}

function noneYet(error: unknown): void {
  if (error instanceof VisorError && error.code === 'unavailable') throw error
}
