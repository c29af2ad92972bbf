/** QEMU's `first,key=value,...` arguments. True and false are said as `on` and `off`. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>

/** One argument; absent values are left out, commas in values doubled, as qemu(1) wants them. */
export function keyValue(first: string, fields: Fields): string {
  const pairs = Object.entries(fields).flatMap(([key, value]) =>
    value === undefined ? [] : `${key}=${formatValue(value)}`,
  )
  return [...(first === '' ? [] : [first]), ...pairs].join(',')
}

function formatValue(value: string | number | boolean): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value).replaceAll(',', ',,')
}
