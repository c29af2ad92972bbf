/** The kinds of words that definitions of networks are made of. */
import * as s from '../schema.ts'

// Checked by value where it matters; this only keeps out what is no address at all.
export const anAddress = {
  pattern: /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$/u,
  patternName: "an IP address such as '192.168.122.1' or 'fd00::1'",
  maxLength: 45,
} as const
export const aMac = {
  normalize: 'mac',
  pattern: /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/u,
  patternName: "a MAC address such as '52:54:00:12:34:56'",
} as const
/** Source: RFC 1123, 2.1; the underscore is for names of services. */
export const aHostName = {
  pattern: /^(?!-)[a-zA-Z0-9_-]{1,63}(?:\.[a-zA-Z0-9_-]{1,63})*\.?$/u,
  patternName: "a host name such as 'web' or 'web.example.org'",
  maxLength: 253,
} as const
/** A link that rules and programs are told of by name: nothing in it that one of them reads otherwise. */
export const aPlainLink = {
  pattern: /^(?![.-])[\w.@+~-]{1,15}$/u,
  patternName: 'the name of a network link, of letters, digits and . _ - + @ ~',
} as const
/** A file or folder in a line of dnsmasq's configuration, where commas part and # begins a remark. */
export const aPlainPath = {
  pattern: /^[^\p{Cc}"\\,#]*$/u,
  patternName: 'a path without commas, #, quotes, backslashes and control characters',
} as const
/** For the lines of dnsmasq's configuration: no line break, no quote. */
export const aPlainText = {
  pattern: /^[^\p{Cc}"\\]*$/u,
  patternName: 'a text without quotes, backslashes and control characters',
} as const

export const yesNo = <const D extends string>(doc: D, xml: string) =>
  s.boolean(doc, { xml, as: 'yes-no', optional: true })
export const port = <const D extends string>(doc: D, xml: string) =>
  s.integer(doc, { xml, optional: true, min: 1, max: 65_535 })
