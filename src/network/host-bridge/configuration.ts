/** What makes a bridge last over a reboot, in the words of whoever sets the network of the host up. */
import { readdir, readFile } from 'node:fs/promises'
import { run, unlessMissing } from '../../host/index.ts'
import type { LinkState } from './link-state.ts'

export type NetworkProgram = 'netplan' | 'NetworkManager' | 'systemd-networkd' | 'ifupdown'

/** Who sets a card up on this host; undefined when nobody known does. */
export async function findProgram(nic: string): Promise<NetworkProgram | undefined> {
  const [netplan = [], index = ''] = await Promise.all([
    unlessMissing(readdir('/etc/netplan')),
    unlessMissing(readFile(`/sys/class/net/${nic}/ifindex`, 'utf8')),
  ])
  if (netplan.some((name) => name.endsWith('.yaml'))) return 'netplan'
  const managed = await run('nmcli', ['-g', 'GENERAL.STATE', 'device', 'show', nic], {
    timeoutMs: 5000,
  }).catch(() => undefined)
  if (managed?.code === 0 && !managed.stdout.startsWith('10 ')) return 'NetworkManager'
  const networkd = await unlessMissing(readFile(`/run/systemd/netif/links/${index.trim()}`, 'utf8'))
  if (networkd !== undefined && !/ADMIN_STATE=unmanaged/u.test(networkd)) return 'systemd-networkd'
  const interfaces = await unlessMissing(readFile('/etc/network/interfaces', 'utf8'))
  return interfaces === undefined ? undefined : 'ifupdown'
}

interface Wanted {
  readonly bridge: string
  readonly nic: string
  readonly state: LinkState
}

/** Whether an address came by DHCP or from a router, and is asked for again. */
export const isDynamic = ({ addresses }: LinkState): boolean =>
  addresses.some(({ family, line }) => family === 4 && !line.includes('valid_lft forever'))

/** Lines for its files, under a comment that says which. */
export function formatConfiguration(program: NetworkProgram | undefined, wanted: Wanted): string {
  const { bridge, nic, state } = wanted
  const dhcp = isDynamic(state)
  const fixed = state.addresses.filter(
    ({ line }) => line.includes('scope global') && / valid_lft forever /u.test(line),
  )
  const addresses = fixed.map(({ text }) => text)
  const [first, ...more] = fixed.filter(({ family }) => family === 4).map(({ text }) => text)
  const { gateways } = state
  const formats: Readonly<Record<NetworkProgram, () => string[]>> = {
    netplan: () => [
      `# /etc/netplan/90-${bridge}.yaml; remove addresses and dhcp4 of ${nic} from the other files, then: netplan try`,
      'network:',
      '  version: 2',
      `  ethernets: { ${nic}: { dhcp4: false, dhcp6: false } }`,
      '  bridges:',
      `    ${bridge}:`,
      `      interfaces: [${nic}]`,
      `      macaddress: '${state.mac}'`,
      '      parameters: { stp: false, forward-delay: 0 }',
      ...(dhcp ? ['      dhcp4: true'] : []),
      ...(addresses.length > 0
        ? [`      addresses: [${addresses.map((one) => `'${one}'`).join(', ')}]`]
        : []),
      ...(dhcp
        ? []
        : gateways.map(
            (via, at) => `${at === 0 ? '      routes:\n' : ''}        - { to: default, via: '${via}' }`,
          )),
    ],
    NetworkManager: () => [
      `nmcli connection add type bridge ifname ${bridge} con-name ${bridge} bridge.stp no bridge.mac-address ${state.mac}${
        dhcp || first === undefined
          ? ''
          : ` ipv4.method manual ipv4.addresses ${[first, ...more].join(',')}${gateways[0]?.includes('.') ? ` ipv4.gateway ${gateways[0]}` : ''}`
      }`,
      `nmcli connection add type ethernet ifname ${nic} con-name ${bridge}-${nic} master ${bridge}`,
      `nmcli connection up ${bridge}-${nic}`,
    ],
    'systemd-networkd': () => [
      `# /etc/systemd/network/10-${bridge}.netdev`,
      ...['[NetDev]', `Name=${bridge}`, 'Kind=bridge', `MACAddress=${state.mac}`],
      `# /etc/systemd/network/10-${nic}.network`,
      ...['[Match]', `Name=${nic}`, '[Network]', `Bridge=${bridge}`],
      `# /etc/systemd/network/11-${bridge}.network`,
      ...['[Match]', `Name=${bridge}`, '[Network]', ...(dhcp ? ['DHCP=yes'] : [])],
      ...addresses.map((one) => `Address=${one}`),
      ...(dhcp ? [] : gateways.map((via) => `Gateway=${via}`)),
    ],
    ifupdown: () => [
      `# /etc/network/interfaces, in place of what it has for ${nic} (package bridge-utils)`,
      `auto ${bridge}`,
      `iface ${bridge} inet ${dhcp || first === undefined ? 'dhcp' : 'static'}`,
      `    bridge_ports ${nic}`,
      ...['    bridge_stp off', '    bridge_fd 0', `    bridge_hw ${state.mac}`],
      ...(dhcp || first === undefined ? [] : [`    address ${first}`]),
      ...(dhcp
        ? []
        : gateways
            .filter((via) => via.includes('.'))
            .slice(0, 1)
            .map((via) => `    gateway ${via}`)),
    ],
  }
  return `${formats[program ?? 'systemd-networkd']().join('\n')}\n`
}
