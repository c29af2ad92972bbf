/**
 * Which of the host's package sources are the distribution's own. Formats: sources.list(5), both the
 * one-line style and deb822.
 */

type Stanza = ReadonlyMap<string, string>

/** The fields that say how a source is verified and reached; others, such as Architectures, are for the host. */
const keptFields = ['signed-by', 'trusted', 'check-valid-until', 'by-hash']

/**
 * The distribution's own sources among these files of /etc/apt, in deb822 form: binary packages of the
 * release `codename` with its updates. Sources of others are left out: they may be slow or away, and nothing
 * of theirs is wanted. Empty when there are none.
 */
export function distributionSources(
  files: readonly { readonly name: string; readonly text: string }[],
  codename: string,
  instead?: string,
): string {
  return files
    .flatMap(({ name, text }) => (name.endsWith('.sources') ? parseStanzas(text) : parseLines(text)))
    .flatMap((stanza) => ownPart(stanza, codename, instead))
    .map((stanza) => [...stanza].map(([key, value]) => `${key}: ${value}\n`).join(''))
    .join('\n')
}

function parseStanzas(text: string): Stanza[] {
  return text
    .split(/\n\s*\n/u)
    .map((block) => {
      const lines = block.split('\n').filter((line) => !line.startsWith('#'))
      const fields = lines
        .join('\n')
        // A line that begins with white space goes on with the field above.
        .split(/\n(?=\S)/u)
        .flatMap((field): [string, string][] => {
          const colon = field.indexOf(':')
          return colon < 0
            ? []
            : [[field.slice(0, colon).trim().toLowerCase(), field.slice(colon + 1).trim()]]
        })
      return new Map(fields)
    })
    .filter((stanza) => stanza.get('enabled')?.toLowerCase() !== 'no')
}

function parseLines(text: string): Stanza[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/u.exec(line)
    if (!match) return []
    const [, options = '', uri = '', suite = '', components = ''] = match
    const fields = options.split(/\s+/u).flatMap((option): [string, string][] => {
      const [key = '', ...value] = option.split('=')
      return key === '' ? [] : [[key.toLowerCase(), value.join('=')]]
    })
    return [
      new Map([
        ...fields,
        ['types', 'deb'],
        ['uris', uri],
        ['suites', suite],
        ['components', components.trim()],
      ]),
    ]
  })
}

function ownPart(stanza: Stanza, codename: string, instead: string | undefined): Stanza[] {
  const words = (key: string) => (stanza.get(key) ?? '').split(/\s+/u).filter((word) => word !== '')
  const own = words('suites').filter((suite) => isOwnSuite(suite, codename))
  // Updates of another release have addresses of their own; the release itself is enough.
  const suites = instead === undefined ? own : own.filter((suite) => !suite.includes('-'))
  if (!words('types').includes('deb') || !words('components').includes('main') || suites.length === 0)
    return []
  const kept = keptFields.flatMap((key): [string, string][] => {
    const value = stanza.get(key)
    return value === undefined ? [] : [[key, value]]
  })
  return [
    new Map([
      ['types', 'deb'],
      ['uris', words('uris').join(' ')],
      ['suites', instead ?? suites.join(' ')],
      ['components', words('components').join(' ')],
      ...kept,
    ]),
  ]
}

function isOwnSuite(suite: string, codename: string): boolean {
  const release = suite.replace(/-(updates|security)$/u, '')
  return [codename, 'stable', 'oldstable', 'testing', 'unstable', 'sid'].includes(release)
}
