import { type schema as s, VisorError } from '../../model/index.ts'

const queryLimit = 64

/**
 * The query string as the options object that `schema` describes, plus the names in `extra` as text. Lists
 * are repeated or separated by commas; a comma that belongs to a text is written %2C, and `names=` is an
 * empty list. Fails with `invalid-argument` for a name that is not known.
 */
export function readQuery(
  url: URL,
  schema: s.Schema | undefined,
  extra: readonly string[] = [],
): { options: Record<string, unknown>; extra: Record<string, string> } {
  const fields = fieldsOf(schema)
  const options: Record<string, unknown> = {}
  const texts: Record<string, string> = {}
  const given = readPairs(url)
  const names = [...new Set(given.map(({ name }) => name))]
  if (names.length > queryLimit)
    throw new VisorError('invalid-argument', 'There are too many query parameters.')
  for (const name of names) {
    const values = given.flatMap((pair) => (pair.name === name ? [pair.value] : []))
    if (Object.hasOwn(fields, name)) options[name] = optionOf(name, fields[name], values)
    else if (extra.includes(name)) texts[name] = values.map(decode).join(',')
    else throw unknownName(name, [...Object.keys(fields), ...extra])
  }
  return { options, extra: texts }
}

/** The fields of an options schema. */
export function fieldsOf(schema: s.Schema | undefined): s.Fields {
  return schema?.kind === 'object' ? (schema as s.ObjectSchema).fields : {}
}

/** The pairs of the query string, the values still encoded. */
function readPairs({ search }: URL): { name: string; value: string }[] {
  const pairs = search.slice(1).split('&').filter(Boolean)
  return pairs.map((pair) => {
    const [name = '', ...value] = pair.split('=')
    return { name: decode(name), value: value.join('=') }
  })
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (cause) {
    throw new VisorError('invalid-argument', `The query string has a part that cannot be read: '${text}'.`, {
      cause,
      remedy: 'Percent-encode the UTF-8 bytes of a text, as encodeURIComponent does.',
    })
  }
}

function optionOf(name: string, schema: s.Schema | undefined, values: readonly string[]): unknown {
  if (schema?.kind === 'array') {
    const { item } = schema as s.ArraySchema
    const texts = values.flatMap((value) => value.split(',')).filter((value) => value !== '')
    return texts.map((text) => scalar(name, item, decode(text)))
  }
  if (values.length > 1)
    throw new VisorError('invalid-argument', `The query parameter '${name}' is given more than once.`, {
      path: name,
    })
  return scalar(name, schema, decode(values[0] ?? ''))
}

function scalar(name: string, schema: s.Schema | undefined, text: string): unknown {
  switch (schema?.kind) {
    case 'boolean':
      if (text === 'true' || text === '') return true
      if (text === 'false') return false
      throw invalid(name, text, 'true or false')
    case 'size':
      return /^\d{1,16}$/u.test(text) ? Number(text) : text
    case 'integer':
    case 'number':
      if (/^-?\d+(\.\d+)?$/u.test(text)) return Number(text)
      throw invalid(name, text, 'a number')
    default:
      return text
  }
}

function invalid(name: string, text: string, wanted: string): VisorError {
  return new VisorError('invalid-argument', `The query parameter '${name}' is '${text}', not ${wanted}.`, {
    path: name,
  })
}

function unknownName(name: string, known: readonly string[]): VisorError {
  return new VisorError('invalid-argument', `There is no query parameter '${name}' here.`, {
    path: name,
    remedy: known.length > 0 ? `There are: ${known.join(', ')}.` : 'This resource takes none.',
  })
}
