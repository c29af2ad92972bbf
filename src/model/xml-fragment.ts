/** Pieces of XML that are kept as texts inside a definition. */
import { VisorError } from './error.ts'
import { attributeText } from './xml-format.ts'
import { parseXml, type XmlElement } from './xml-tree.ts'

const limits = { maxBytes: 1_048_576, maxDepth: 64 }
const pathPattern = /^(?:[\p{L}_][\p{L}\p{N}_.:-]*\/){0,16}@?[\p{L}_][\p{L}\p{N}_.:-]*$/u

/** The element or attribute that ends a path: `driver/@queues` gives `@queues`. */
export const lastStep = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

/** What is wrong with a text that shall be one element (named `name`); undefined when nothing is. */
export function fragmentFault(xml: string, name?: string): string | undefined {
  const root = tryParse(xml)
  if (typeof root === 'string') return root
  if (name !== undefined && root.name !== name) return `must be an element <${name}>, not <${root.name}>`
  return xml.startsWith('<') && root.start === 0 && root.end === xml.length
    ? undefined
    : 'must be one element and nothing around it'
}

/** What is wrong with an entry of unknown content; undefined when nothing is. */
export function unknownFault(path: string, xml: string): string | undefined {
  if (path.length > 1024 || !pathPattern.test(path))
    return "has a path that is none, such as 'driver/@queues'"
  const last = lastStep(path)
  return last.startsWith('@') ? attributeFault(xml, last.slice(1)) : fragmentFault(xml, last)
}

function attributeFault(xml: string, name: string): string | undefined {
  const root = tryParse(`<a ${xml}/>`)
  if (typeof root === 'string') return root
  const alone = root.attributes.size === 1 && root.attributes.has(name) && root.children.length === 0
  return alone && root.end === xml.length + 5 ? undefined : `must be one attribute, such as ${name}='...'`
}

/** Name and value of an attribute kept as `name='value'`. */
export function attributeOf(xml: string): { name: string; value: string } | undefined {
  const root = tryParse(`<a ${xml}/>`)
  if (typeof root === 'string') return undefined
  const [attribute] = root.attributes.values()
  return attribute && { name: attribute.name, value: attribute.value }
}

/** Unknown content as it is kept: an attribute in libvirt's quotes, an element as it is. */
export function canonicalXml(path: string, xml: string): string {
  const attribute = lastStep(path).startsWith('@') ? attributeOf(xml) : undefined
  return attribute ? `${attribute.name}=${attributeText(attribute.value)}` : xml
}

function tryParse(xml: string): XmlElement | string {
  try {
    return parseXml(xml, limits).root
  } catch (error) {
    if (error instanceof VisorError) return error.message.replace(/\.$/u, '')
    throw error
  }
}
