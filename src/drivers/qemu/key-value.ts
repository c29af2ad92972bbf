/** QEMU's `first,key=value,...` arguments. */
export type Fields = Readonly<Record<string, string | number | undefined>>

/** One argument; absent values are left out, commas in values doubled, as qemu(1) wants them. */
export function keyValue(first: string, fields: Fields): string {
  const pairs = Object.entries(fields).flatMap(([key, value]) =>
    value === undefined ? [] : `${key}=${String(value).replaceAll(',', ',,')}`,
  )
  return [...(first === '' ? [] : [first]), ...pairs].join(',')
}
