/** A text within a list, as QEMU's schema has it. */
export interface ListText {
  readonly str: string
}

/**
 * QEMU's `first,key=value,...` arguments. True and false are said as `on` and `off`; a list is said by its key
 * again for each.
 */
export type Fields = Readonly<Record<string, string | number | boolean | readonly ListText[] | undefined>>

/** One argument; absent values are left out, commas in values doubled, as qemu(1) wants them. */
export function keyValue(first: string, fields: Fields): string {
  const pairs = Object.entries(fields).flatMap(([key, value]) => {
    if (value === undefined) return []
    const values = typeof value === 'object' ? value.map(({ str }) => str) : [value]
    return values.map((one) => `${key}=${formatValue(one)}`)
  })
  return [...(first === '' ? [] : [first]), ...pairs].join(',')
}

function formatValue(value: string | number | boolean): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value).replaceAll(',', ',,')
}
