import { type JsonSchema, jsonSchema, type schema as s } from '../../model/index.ts'

/** The schemas of a document, each noun once, by name. */
export interface SchemaBook {
  /**
   * The schema to put where a value of this description stands; its nouns are references. `input`: what may
   * be written, `output` (without it): what is given.
   */
  use(schema: s.Schema, variant?: 'input' | 'output'): JsonSchema
  all(): Readonly<Record<string, JsonSchema>>
}

/** A book that grows as schemas are used. */
export function componentSchemas(): SchemaBook {
  const components = new Map<string, JsonSchema>()
  return {
    use(schema, variant) {
      const made = jsonSchema(schema, { refPrefix: '#/components/schemas/', ...(variant && { variant }) })
      const { $schema: _dialect, $defs, ...root } = made
      for (const [name, definition] of Object.entries(($defs ?? {}) as Record<string, JsonSchema>))
        components.set(name, definition)
      return root
    },
    all: () => Object.fromEntries([...components].sort(([a], [b]) => (a < b ? -1 : 1))),
  }
}
