/**
 * Keeps networks whole beside Docker, ufw and firewalld. Each of them drops or rejects what it does not know, and an
 * accept in visor's tables does not undo that; so visor has exceptions for its bridges in theirs, and looks whether
 * they are still there whenever rules of this host have changed.
 */
import { readFile } from 'node:fs/promises'
import { type Log, silentLog } from '../../driver/index.ts'
import { findProgram, hasTable, listLinks, readGeneration, run } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { nft } from '../commands.ts'
import type { CompleteNetwork } from '../complete.ts'
import { type Exception, exceptionsOf, isOfDocker } from './exceptions.ts'
import { firewalldTable, formatFirewalld } from './firewalld.ts'
import { type IptablesFamily, planIptables } from './iptables.ts'

export interface OtherFirewalls {
  /** Lets these networks pass, and none that were there before. What fails is logged: networks go on without. */
  become(networks: readonly CompleteNetwork[]): Promise<void>
  /** Looks whether it is still so. */
  keep(): Promise<void>
}

const programs: Readonly<Record<IptablesFamily, string>> = { ipv4: 'iptables', ipv6: 'ip6tables' }
const families = ['ipv4', 'ipv6'] as const
const timeoutMs = 20_000

export function otherFirewalls(name: string, log: Log = silentLog): OtherFirewalls {
  let exceptions: readonly Exception[] = []
  /** Of the rules of this host, when they were last looked at. */
  let seen: number | undefined
  const told = new Set<string>()

  /** One that fails does not keep the others from being looked at; each reason is told once. */
  async function attempt(what: string, work: () => Promise<void>): Promise<void> {
    await work().then(
      () => told.delete(what),
      (error: unknown) => {
        if (!told.has(what))
          log.warn({ error: String(error) }, `${what} could not be told to let networks pass.`)
        told.add(what)
      },
    )
  }

  async function look(): Promise<void> {
    const docker = (await listLinks()).filter(isOfDocker)
    for (const family of families)
      await attempt(programs[family], () => passIptables(name, family, exceptions, docker))
    await attempt('firewalld', () => passFirewalld(name, exceptions, docker))
    seen = await readGeneration()
  }

  return {
    async become(networks) {
      const wanted = exceptionsOf(networks)
      if (seen !== undefined && JSON.stringify(wanted) === JSON.stringify(exceptions)) return
      exceptions = wanted
      await look()
    },
    async keep() {
      if (seen === undefined || (await readGeneration()) !== seen || (await hasOldTables())) await look()
    },
  }
}

/** Tables of the kernel from before nftables, whose changes it does not count. */
const hasOldTables = async (): Promise<boolean> =>
  (await Promise.all(families.map(hasOldTable))).some(Boolean)

async function hasOldTable(family: IptablesFamily): Promise<boolean> {
  const file = family === 'ipv4' ? '/proc/net/ip_tables_names' : '/proc/net/ip6_tables_names'
  const names = await readFile(file, 'latin1').catch(() => '')
  return names.split('\n').includes('filter')
}

async function passIptables(
  name: string,
  family: IptablesFamily,
  exceptions: readonly Exception[],
  docker: readonly string[],
): Promise<void> {
  const isThere = (await hasTable(family === 'ipv4' ? 'ip' : 'ip6', 'filter')) || (await hasOldTable(family))
  if (!isThere) return
  const program = programs[family]
  // Whoever has such a table has had the program; without it, nobody is asked.
  if (!(await findProgram(program))) return
  const listed = await iptables(program, ['-w', '5', '-S'])
  const lines = planIptables(listed, { name, family, exceptions, docker })
  if (lines.length === 0) return
  await iptables(`${program}-restore`, ['-w', '5', '--noflush'], `*filter\n${lines.join('\n')}\nCOMMIT\n`)
}

async function iptables(program: string, args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await run(program, [...args], {
    timeoutMs,
    maxBytes: 2 ** 24,
    ...(input === undefined ? {} : { input }),
  })
  if (code === 0) return stdout
  throw new VisorError('failed', `${program} failed: ${stderr.trim().split('\n')[0] ?? `code ${code}`}`)
}

async function passFirewalld(
  name: string,
  exceptions: readonly Exception[],
  docker: readonly string[],
): Promise<void> {
  if (!(await hasTable('inet', firewalldTable))) return
  const jumps = new Set<string>()
  for (const chain of ['filter_FORWARD', 'filter_INPUT']) {
    const { stdout } = await run('nft', ['list', 'chain', 'inet', firewalldTable, chain], { timeoutMs })
    if (stdout.includes(`jump ${name}-`)) jumps.add(chain)
  }
  // It was never told of any.
  if (exceptions.length === 0 && jumps.size === 0) return
  await nft(formatFirewalld(name, exceptions, docker, jumps))
}
