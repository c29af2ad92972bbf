/** `visor network explain`: the way of a packet, as lines for people. */
import { VisorError } from '../model/index.ts'
import type { Context } from './context.ts'
import { safe } from './page.ts'

const form =
  /^(?:\[(?<bracketed>[0-9a-fA-F:.]+)\]|(?<bare>[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)|(?<plain>[^:/\s]+))(?::(?<port>\d{1,5}))?(?:\/(?<proto>tcp|udp))?$/u

export interface WhomToReach {
  readonly target: string
  readonly port?: number
  readonly proto?: 'tcp' | 'udp'
}

/** `TARGET[:PORT[/udp]]`, an IPv6 address with a port in brackets. Fails with `invalid-argument`. */
export function parseTarget(text: string): WhomToReach {
  const { bracketed, bare, plain, port, proto } = form.exec(text)?.groups ?? {}
  const target = bracketed ?? bare ?? plain
  const number = Number(port ?? 1)
  if (target === undefined || number < 1 || number > 65_535 || (proto !== undefined && port === undefined))
    throw new VisorError('invalid-argument', `'${text}' is nobody who could be reached.`, {
      remedy:
        "Write an address or a name, and perhaps a port: '192.0.2.1', 'db:5432', '[2001:db8::1]:53/udp'.",
    })
  return {
    target,
    ...(port === undefined
      ? {}
      : { port: number, proto: proto === 'udp' ? ('udp' as const) : ('tcp' as const) }),
  }
}

export async function explainPath(context: Context, domain: string, text: string): Promise<void> {
  const { connected, output, failWith } = context
  const whom = parseTarget(text)
  const found = await connected(({ reach }) => reach.explain(domain, whom))
  const { colours } = output
  output.print(found, () =>
    found.steps
      .map(({ passed, message, remedy }) =>
        [
          `${passed ? colours.green('✓') : colours.red('✗')} ${safe(message)}\n`,
          remedy === undefined ? '' : `  try: ${safe(remedy)}\n`,
        ].join(''),
      )
      .join(''),
  )
  if (!found.reached) failWith(1)
  else output.note(`Nothing on this host stops it.`)
}
