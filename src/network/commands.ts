/** The programs that links and rules of this host are changed by. Source: ip(8), nft(8). */
import { run, runChecked } from '../host/index.ts'
import { VisorError } from '../model/index.ts'

const timeoutMs = 20_000

/**
 * Runs lines of ip(8), each a command, until one fails: on this host, or in a network namespace of it. Fails with
 * `failed` and what ip said of it.
 */
export const ipBatch = (lines: readonly string[], namespace?: string): Promise<void> =>
  batch('ip', lines, namespace === undefined ? [] : ['-netns', namespace])

/** Runs lines of bridge(8) as {@link ipBatch} does those of ip(8). */
export const bridgeBatch = (lines: readonly string[]): Promise<void> => batch('bridge', lines, [])

async function batch(
  program: 'ip' | 'bridge',
  lines: readonly string[],
  where: readonly string[],
): Promise<void> {
  if (lines.length === 0) return
  const { code, stderr } = await run(program, [...where, '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    timeoutMs,
  })
  if (code === 0) return
  const said = stderr.trim().split('\n')[0] ?? ''
  const failed = lines[Number(/Command failed -:(\d+)/u.exec(stderr)?.[1] ?? 0) - 1]
  throw new VisorError(
    'failed',
    `A link of this host could not be set up: ${said.replace(/\.?$/u, '')}${failed ? ` (${program} ${failed})` : ''}.`,
    { remedy: /not permitted/u.test(stderr) ? 'Run visord as root: networks need it.' : undefined },
  )
}

/** What ip(8) lists, as JSON. */
export async function ipList(...args: string[]): Promise<Record<string, unknown>[]> {
  const { stdout } = await runChecked('ip', ['-json', ...args], { timeoutMs })
  const listed: unknown = stdout.trim() === '' ? [] : JSON.parse(stdout)
  return Array.isArray(listed) ? listed : []
}

/** Does all that a script of nft(8) says, or nothing of it. Fails with `failed` and what nft said. */
export async function nft(script: string): Promise<void> {
  const { code, stderr } = await run('nft', ['-f', '-'], { input: script, timeoutMs })
  if (code === 0) return
  const said =
    stderr
      .trim()
      .split('\n')[0]
      ?.replace(/^\/dev\/stdin:[\d:-]+ /u, '') ?? ''
  throw new VisorError(
    'failed',
    `The rules of the networks could not be set: ${said.replace(/\.?$/u, '.')}`,
    {
      remedy: /not permitted/u.test(stderr) ? 'Run visord as root: networks need it.' : undefined,
    },
  )
}
