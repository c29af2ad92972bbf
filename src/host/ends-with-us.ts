/** Programs that are of no use without us. Source: PR_SET_PDEATHSIG of prctl(2), setpriv(1) of util-linux. */
import { run } from './process.ts'

let prefix: Promise<readonly string[]> | undefined

/**
 * The command line of a program that is killed when this process ends, however that ends, such as by a signal that
 * nobody can handle; the command line as it was where the system's setpriv cannot do that. It stays the same process.
 */
export async function endsWithUs(program: string, args: readonly string[]): Promise<[string, ...string[]]> {
  const [first = program, ...rest] = [...(await endingWithUs()), program]
  return [first, ...rest, ...args]
}

/** What makes it so, before the words of a command line. */
export function endingWithUs(): Promise<readonly string[]> {
  prefix ??= findPrefix()
  return prefix
}

async function findPrefix(): Promise<readonly string[]> {
  const words = ['setpriv', '--pdeathsig', 'KILL', '--']
  const [program = '', ...args] = [...words, 'true']
  const works = await run(program, args, { timeoutMs: 10_000 }).then(
    ({ code }) => code === 0,
    () => false,
  )
  return works ? words : []
}
