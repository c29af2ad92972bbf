/** Limits of a disk. Source: libvirt's "Domain XML format", iotune; QEMU's docs/throttle.txt. */
import { unknown } from '../domain-words.ts'
import * as s from '../schema.ts'

const limit = <const X extends string>(doc: string, xml: X) =>
  s.integer(doc, { xml, optional: true, min: 0, max: 1e15 })

/** Bytes or requests in one second; with `Max` in bursts, which `MaxLength` seconds long. */
export const DiskThrottle = s.object('DiskThrottle', 'Limits of a disk; 0 is no limit', {
  totalBytesSec: limit('bytes per second', 'total_bytes_sec'),
  readBytesSec: limit('bytes read per second', 'read_bytes_sec'),
  writeBytesSec: limit('bytes written per second', 'write_bytes_sec'),
  totalIopsSec: limit('requests per second', 'total_iops_sec'),
  readIopsSec: limit('reads per second', 'read_iops_sec'),
  writeIopsSec: limit('writes per second', 'write_iops_sec'),
  totalBytesSecMax: limit('bytes per second in a burst', 'total_bytes_sec_max'),
  readBytesSecMax: limit('bytes read per second in a burst', 'read_bytes_sec_max'),
  writeBytesSecMax: limit('bytes written per second in a burst', 'write_bytes_sec_max'),
  totalIopsSecMax: limit('requests per second in a burst', 'total_iops_sec_max'),
  readIopsSecMax: limit('reads per second in a burst', 'read_iops_sec_max'),
  writeIopsSecMax: limit('writes per second in a burst', 'write_iops_sec_max'),
  sizeIopsSec: limit('bytes that count as one request', 'size_iops_sec'),
  groupName: s.string('group of disks that share the limits', {
    xml: 'group_name',
    optional: true,
    maxLength: 64,
    pattern: /^[^\p{Cc}]+$/u,
    patternName: 'a name without control characters',
  }),
  totalBytesSecMaxLength: limit('seconds of a burst', 'total_bytes_sec_max_length'),
  readBytesSecMaxLength: limit('seconds of a burst of reads', 'read_bytes_sec_max_length'),
  writeBytesSecMaxLength: limit('seconds of a burst of writes', 'write_bytes_sec_max_length'),
  totalIopsSecMaxLength: limit('seconds of a burst of requests', 'total_iops_sec_max_length'),
  readIopsSecMaxLength: limit('seconds of a burst of reads', 'read_iops_sec_max_length'),
  writeIopsSecMaxLength: limit('seconds of a burst of writes', 'write_iops_sec_max_length'),
  unknown,
})

export type DiskThrottle = s.Output<typeof DiskThrottle>
