/** How links are ports of bridges. Source: bridge(8), ip-link(8). */
import { readFile } from 'node:fs/promises'
import { VisorError } from '../model/index.ts'
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
  if (isolated) await runTool('bridge', ['link', 'set', 'dev', link, 'isolated', 'on'])
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
