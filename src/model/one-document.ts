/** Definitions of a noun as texts that hold one, in whichever notation. */
import { type DefinitionFormat, guessFormat } from './definition.ts'
import { VisorError } from './error.ts'
import type { Output, Schema } from './schema.ts'
import { parseXmlDocument } from './xml-decode.ts'
import { formatXml } from './xml-encode.ts'
import { parseYamlDocuments } from './yaml-read.ts'
import { formatYaml } from './yaml-write.ts'

export interface OneDocument<T> {
  /**
   * The one definition that a text holds: libvirt's XML, YAML or JSON, guessed where it is not said. Checked as a
   * whole. Fails with `invalid-definition`, telling each mistake with its path, line and column.
   */
  parse(text: string, format?: DefinitionFormat): T
  /** The definition as text that ends in a newline; `parse` gives an equal one back. */
  format(definition: T, format: DefinitionFormat): string
}

/** `check` is told a definition whose parts are right one by one. */
export function oneDocument<S extends Schema>(
  schema: S,
  check: (definition: Output<S>) => void,
): OneDocument<Output<S>> {
  return {
    parse(text, format = guessFormat(text)) {
      const [first, ...others] =
        format === 'xml' ? [parseXmlDocument(schema, text)] : parseYamlDocuments(schema, text, { format })
      if (first === undefined)
        throw new VisorError('invalid-definition', 'The text has no definition: it is empty.')
      if (others.length > 0)
        throw new VisorError(
          'invalid-definition',
          `The text has ${others.length + 1} definitions, where one is wanted.`,
        )
      check(first)
      return first
    },
    format(definition, format) {
      if (format === 'xml') return formatXml(schema, definition)
      if (format === 'yaml') return formatYaml(schema, definition)
      return `${JSON.stringify(definition, null, 2)}\n`
    },
  }
}
