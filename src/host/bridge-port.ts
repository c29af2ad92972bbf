/** How links are ports of bridges. Source: bridge(8), ip-link(8), linux/if_link.h. */
import { readFile } from 'node:fs/promises'
import { VisorError } from '../model/index.ts'
import { askKernel, attribute, netlinkOf } from './netlink/index.ts'
import { runTool } from './network-tools.ts'

export interface BridgePort {
  /** It does not see other isolated ports. */
  readonly isolated?: boolean | undefined
  /** Virtual LANs it is in; the default of the bridge where there are none. */
  readonly vlans?: readonly Vlan[] | undefined
}

export interface Vlan {
  readonly id: number
  /** Packets without a tag belong to it. */
  readonly untagged: boolean
}

/** Sets up a port. Fails with `unsupported-config` where the bridge passes all virtual LANs to all. */
export async function setBridgePort(
  bridge: string,
  link: string,
  { isolated, vlans = [] }: BridgePort,
): Promise<void> {
  if (isolated) await setPortFlag(link, 'isolated')
  if (vlans.length === 0) return
  const filters = await readFile(`/sys/class/net/${bridge}/bridge/vlan_filtering`, 'latin1').catch(() => '')
  if (filters.trim() !== '1')
    throw new VisorError(
      'unsupported-config',
      `The bridge '${bridge}' does not tell virtual LANs apart, so '${link}' cannot be in one alone.`,
      { remedy: `Turn it on ('ip link set ${bridge} type bridge vlan_filtering 1'), or leave the tags out.` },
    )
  await runTool('bridge', ['vlan', 'del', 'dev', link, 'vid', '1']).catch(() => {})
  for (const { id, untagged } of vlans)
    await runTool('bridge', [
      ...['vlan', 'add', 'dev', link, 'vid', String(id)],
      ...(untagged ? ['pvid', 'untagged'] : []),
    ])
}

const RTM_SETLINK = 19
const AF_BRIDGE = 7
const IFLA_PROTINFO = 12
/** Attributes IFLA_BRPORT_MODE and IFLA_BRPORT_ISOLATED. */
const flagOf = { hairpin: 4, isolated: 33 } as const

/** Sets a flag of a link that is a port. Fails with `failed` when there is no such link, or it is no port. */
export async function setPortFlag(link: string, flag: keyof typeof flagOf): Promise<void> {
  try {
    const header = Buffer.alloc(16)
    header.writeUInt8(AF_BRIDGE, 0)
    header.writeInt32LE(Number(await readFile(`/sys/class/net/${link}/ifindex`, 'latin1')), 4)
    const port = attribute(IFLA_PROTINFO, [attribute(flagOf[flag], Buffer.from([1]))])
    await askKernel(netlinkOf.route, [{ type: RTM_SETLINK, body: Buffer.concat([header, port]) }])
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new VisorError('failed', `The port '${link}' of a bridge cannot be made ${flag}: ${reason}.`, {
      cause,
    })
  }
}
