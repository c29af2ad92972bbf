/** A tree of XML as text, the way libvirt prints it: two spaces a level, single quotes, short empty tags. */
import { VisorError } from './error.ts'

export interface XmlNode {
  readonly name: string
  readonly attributes: Map<string, string>
  readonly children: XmlNode[]
  text?: string
  /** The element as it stands, instead of all else. */
  raw?: string
}

export const newNode = (name: string): XmlNode => ({ name, attributes: new Map(), children: [] })

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&apos;',
  '"': '&quot;',
  '\r': '&#13;',
}

/** A text between tags. */
export function escapeText(text: string): string {
  if (!isXmlText(text))
    throw new VisorError(
      'invalid-definition',
      'The definition has a control character, which XML cannot carry.',
      {
        remedy: 'Remove the character.',
      },
    )
  return text.replace(/[&<>'"\r]/gu, (character) => entities[character] ?? character)
}

/** An attribute's value in its quotes. */
export function attributeText(value: string): string {
  const text = escapeText(value).replace(/[\t\n]/gu, (character) => `&#${character.charCodeAt(0)};`)
  return `'${text}'`
}

/** Whether XML 1.0 can carry the text: its production Char leaves out most control characters and half pairs. */
export function isXmlText(text: string): boolean {
  return !/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.test(text)
}

/** The node and all below it, ended by a newline. */
export function formatNode(node: XmlNode, indent = ''): string {
  const lines: string[] = []
  printNode(node, indent, lines)
  return `${lines.join('\n')}\n`
}

function printNode(node: XmlNode, indent: string, lines: string[]): void {
  if (node.raw !== undefined) {
    lines.push(indent + node.raw)
    return
  }
  // The second element of a name is `name#2` in a description.
  const [name = ''] = node.name.split('#')
  let tag = `${indent}<${name}`
  for (const [key, value] of node.attributes) tag += ` ${key}=${attributeText(value)}`
  if (node.children.length > 0 && node.text !== undefined) {
    // Space between children would be read as a part of the text.
    const children = node.children.map((child) => formatNode(child).trimEnd()).join('')
    lines.push(`${tag}>${escapeText(node.text)}${children}</${name}>`)
  } else if (node.children.length > 0) {
    lines.push(`${tag}>`)
    for (const child of node.children) printNode(child, `${indent}  `, lines)
    lines.push(`${indent}</${name}>`)
  } else if (node.text !== undefined) lines.push(`${tag}>${escapeText(node.text)}</${name}>`)
  else lines.push(`${tag}/>`)
}
