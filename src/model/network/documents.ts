/** Definitions of networks as texts, in whichever notation. */
import { type DefinitionFormat, guessFormat } from '../definition.ts'
import { VisorError } from '../error.ts'
import { parseXmlDocument } from '../xml-decode.ts'
import { formatXml } from '../xml-encode.ts'
import { parseYamlDocuments } from '../yaml-read.ts'
import { formatYaml } from '../yaml-write.ts'
import { checkNetworkDefinition } from './check.ts'
import { NetworkDefinition } from './definition.ts'

/**
 * The one network definition that a text holds: libvirt's XML, YAML or JSON, guessed where it is not said.
 * Checked as a whole. Fails with `invalid-definition`, telling each mistake with its path, line and column.
 */
export function parseNetworkDefinition(
  text: string,
  format: DefinitionFormat = guessFormat(text),
): NetworkDefinition {
  const [first, ...others] =
    format === 'xml'
      ? [parseXmlDocument(NetworkDefinition, text)]
      : parseYamlDocuments(NetworkDefinition, text, { format })
  if (first === undefined)
    throw new VisorError('invalid-definition', 'The text has no definition: it is empty.')
  if (others.length > 0)
    throw new VisorError(
      'invalid-definition',
      `The text has ${others.length + 1} definitions, where one is wanted.`,
    )
  checkNetworkDefinition(first)
  return first
}

/** The definition as text that ends in a newline; {@link parseNetworkDefinition} gives an equal one back. */
export function formatNetworkDefinition(definition: NetworkDefinition, format: DefinitionFormat): string {
  if (format === 'xml') return formatXml(NetworkDefinition, definition)
  if (format === 'yaml') return formatYaml(NetworkDefinition, definition)
  return `${JSON.stringify(definition, null, 2)}\n`
}
