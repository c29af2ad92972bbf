/** The table of all filters, as a script of nft(8) that replaces its rules at once and forgets no flow. */
import { run } from '../../host/index.ts'
import type { CompiledPort } from './compile.ts'
import { flowSets } from './flows.ts'

export const filterTable = (table: string): string => `${table}-filter`

const quoted = (text: string) => `"${text}"`

/** `before`: names of the chains that are there; `shared`: those that several ports ask. */
export function formatFilters(
  table: string,
  ports: readonly CompiledPort[],
  before: readonly string[],
  shared: CompiledPort['chains'] = [],
): string {
  const name = filterTable(table)
  if (ports.length === 0)
    return before.length === 0 ? '' : `table bridge ${name} {}\ndelete table bridge ${name}\n`
  const old = before.filter((one) => one !== 'out' && one !== 'in')
  const chains = [...shared, ...ports.flatMap((port) => port.chains)]
  return `${[
    ...before.map((one) => `flush chain bridge ${name} ${one}`),
    ...old.map((one) => `delete chain bridge ${name} ${one}`),
    `table bridge ${name} {`,
    ...flowSets(),
    ...chains.map(([chain, rules]) => block(chain, rules)),
    block('out', [
      'type filter hook prerouting priority -290; policy accept;',
      `iifname vmap { ${ports.map((port) => `${quoted(port.link)} : goto ${port.out}`).join(', ')} }`,
    ]),
    block('in', [
      'type filter hook postrouting priority 0; policy accept;',
      `oifname vmap { ${ports.map((port) => `${quoted(port.link)} : goto ${port.in}`).join(', ')} }`,
    ]),
    '}',
  ].join('\n')}\n`
}

const block = (chain: string, lines: readonly string[]) =>
  [`  chain ${chain} {`, ...lines.map((line) => `    ${line}`), '  }'].join('\n')

/** Names of the chains of filters that the kernel has. */
export async function filterChains(table: string): Promise<string[]> {
  const { code, stdout } = await run('nft', ['-j', 'list', 'chains', 'bridge'], { timeoutMs: 20_000 })
  if (code !== 0) return []
  const { nftables = [] } = JSON.parse(stdout) as {
    nftables?: readonly { readonly chain?: { readonly table: string; readonly name: string } }[]
  }
  return nftables.flatMap(({ chain }) => (chain?.table === filterTable(table) ? [chain.name] : []))
}

/** Whether the kernel can tell who sends over a bridge that it may not (nft_reject_bridge). */
export async function canReject(): Promise<boolean> {
  const probe =
    'table bridge visor-probe {\n chain c {\n type filter hook prerouting priority 0;\n reject\n }\n}\n'
  const { code } = await run('nft', ['-c', '-f', '-'], { input: probe, timeoutMs: 20_000 })
  return code === 0
}
