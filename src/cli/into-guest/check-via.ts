import { InvalidArgumentError } from 'commander'

/** The value of `--via`. */
export function checkVia(text: string): 'agent' | 'ssh' {
  if (text === 'agent' || text === 'ssh') return text
  throw new InvalidArgumentError('Write agent or ssh.')
}
