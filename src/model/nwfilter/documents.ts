/** Filters as texts, in whichever notation. */
import { type DefinitionFormat, guessFormat } from '../definition.ts'
import { VisorError } from '../error.ts'
import { parseXmlDocument } from '../xml-decode.ts'
import { formatXml } from '../xml-encode.ts'
import { parseYamlDocuments } from '../yaml-read.ts'
import { formatYaml } from '../yaml-write.ts'
import { checkNwfilterDefinition } from './check.ts'
import { NwfilterDefinition } from './definition.ts'

/**
 * The one filter that a text holds: libvirt's XML, YAML or JSON, guessed where it is not said. Checked as a whole.
 * Fails with `invalid-definition`, telling each mistake with its path, line and column.
 */
export function parseNwfilterDefinition(
  text: string,
  format: DefinitionFormat = guessFormat(text),
): NwfilterDefinition {
  const [first, ...others] =
    format === 'xml'
      ? [parseXmlDocument(NwfilterDefinition, text)]
      : parseYamlDocuments(NwfilterDefinition, text, { format })
  if (first === undefined)
    throw new VisorError('invalid-definition', 'The text has no definition: it is empty.')
  if (others.length > 0)
    throw new VisorError(
      'invalid-definition',
      `The text has ${others.length + 1} definitions, where one is wanted.`,
    )
  checkNwfilterDefinition(first)
  return first
}

/** The filter as text that ends in a newline; {@link parseNwfilterDefinition} gives an equal one back. */
export function formatNwfilterDefinition(definition: NwfilterDefinition, format: DefinitionFormat): string {
  if (format === 'xml') return formatXml(NwfilterDefinition, definition)
  if (format === 'yaml') return formatYaml(NwfilterDefinition, definition)
  return `${JSON.stringify(definition, null, 2)}\n`
}
