/** Definitions of domains as texts, in whichever notation. */
import { checkDefinition } from './check-definition.ts'
import { DomainDefinition } from './domain-definition.ts'
import { VisorError } from './error.ts'
import { parseXmlDocument } from './xml-decode.ts'
import { formatXml } from './xml-encode.ts'
import { parseYamlDocuments } from './yaml-read.ts'
import { formatYaml } from './yaml-write.ts'

export const definitionFormats = ['json', 'xml', 'yaml'] as const
export type DefinitionFormat = (typeof definitionFormats)[number]

/** The notation of a text, by its first character that is no space. */
export function guessFormat(text: string): DefinitionFormat {
  const first = /[^\s\ufeff]/u.exec(text)?.[0]
  return first === '<' ? 'xml' : first === '{' ? 'json' : 'yaml'
}

/**
 * The one domain definition that a text holds: libvirt's XML, YAML or JSON, guessed where it is not said.
 * Checked as a whole ({@link checkDefinition}). Fails with `invalid-definition`, telling each mistake with
 * its path, line and column.
 */
export function parseDefinition(
  text: string,
  format: DefinitionFormat = guessFormat(text),
): DomainDefinition {
  const [first, ...others] = parseDefinitions(text, format)
  if (first === undefined)
    throw new VisorError('invalid-definition', 'The text has no definition: it is empty.')
  if (others.length > 0)
    throw new VisorError(
      'invalid-definition',
      `The text has ${others.length + 1} definitions, where one is wanted.`,
    )
  return first
}

/** All definitions of a text: a YAML stream may hold any number, XML and JSON hold one. */
export function parseDefinitions(
  text: string,
  format: DefinitionFormat = guessFormat(text),
): DomainDefinition[] {
  const definitions =
    format === 'xml'
      ? [parseXmlDocument(DomainDefinition, text)]
      : parseYamlDocuments(DomainDefinition, text, { format })
  for (const definition of definitions) checkDefinition(definition)
  return definitions
}

/** The definition as text that ends in a newline; {@link parseDefinition} gives an equal one back. */
export function formatDefinition(definition: DomainDefinition, format: DefinitionFormat): string {
  if (format === 'xml') return formatXml(DomainDefinition, definition)
  if (format === 'yaml') return formatYaml(DomainDefinition, definition)
  return `${JSON.stringify(definition, null, 2)}\n`
}
