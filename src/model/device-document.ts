/** Single devices as texts: libvirt's `<disk/>` alone, or a `devices` description with one device. */
import { type DefinitionFormat, guessFormat } from './definition.ts'
import { described } from './described.ts'
import { Devices, type DevicesInput } from './devices/index.ts'
import { VisorError } from './error.ts'
import type * as s from './schema.ts'
import { readXmlDocument } from './xml-decode.ts'
import { formatXml } from './xml-encode.ts'
import { parseXml, type XmlDocument } from './xml-tree.ts'
import { parseYaml } from './yaml-read.ts'
import { formatYaml } from './yaml-write.ts'

/** As it stands in a file of its own. */
const DeviceList = { ...Devices, options: { ...Devices.options, xml: 'devices' } } as typeof Devices

/** The lists and single fields of {@link Devices} that are devices, by the element of each. */
const kinds: ReadonlyMap<string, string> = new Map(
  Object.entries(Devices.fields).flatMap(([key, field]) => {
    const { xml } = (field as s.Schema).options
    const isDevice = ['array', 'object'].includes(described(field as s.Schema).kind)
    return xml !== undefined && isDevice ? [[xml, key]] : []
  }),
)

/**
 * The one device of a text: its XML element (`<disk>`), or XML, YAML or JSON of `devices` with one device in it. Fails
 * with `invalid-definition`, telling each mistake with its path, line and column.
 */
export function parseDevice(text: string, format: DefinitionFormat = guessFormat(text)): Devices {
  const devices =
    format === 'xml'
      ? readXmlDocument(DeviceList, inDevices(parseXml(text)))
      : parseYaml(DeviceList, text, { format })
  const count = countDevices(devices)
  if (count === 1) return devices
  throw new VisorError(
    'invalid-definition',
    count === 0 ? 'The text has no device.' : `The text has ${count} devices, where one is wanted.`,
    { remedy: `Write one device, such as <disk>...</disk>. There are: ${[...kinds.keys()].join(', ')}.` },
  )
}

/** The device as text that ends in a newline; as XML, its element alone. {@link parseDevice} gives it back. */
export function formatDevice(devices: Devices, format: DefinitionFormat): string {
  if (format === 'yaml') return formatYaml(DeviceList, devices)
  if (format === 'json') return `${JSON.stringify(devices, null, 2)}\n`
  const lines = formatXml(DeviceList, devices).split('\n')
  return `${lines
    .slice(1, -2)
    .map((line) => line.replace(/^ {2}/u, ''))
    .join('\n')}\n`
}

/** How many devices a description has. */
function countDevices(devices: DevicesInput): number {
  const values = [...kinds.values()].map((key) => devices[key as keyof DevicesInput])
  return values.reduce<number>(
    (sum, value) => sum + (Array.isArray(value) ? value.length : value === undefined ? 0 : 1),
    0,
  )
}

/** A single element as the only one in `<devices>`; the places of all stay those in the text. */
function inDevices(document: XmlDocument): XmlDocument {
  const { root } = document
  if (root.name === 'devices') return document
  if (!kinds.has(root.name)) {
    const place = document.locate(root.start)
    throw new VisorError(
      'invalid-definition',
      `The XML is a <${root.name}>, which is no device that is known (line ${place.line}, column ${place.column}).`,
      { ...place, remedy: `There are: ${[...kinds.keys()].join(', ')}.` },
    )
  }
  const { start, end } = root
  return {
    ...document,
    root: { name: 'devices', attributes: new Map(), children: [root], text: '', start, end },
  }
}
