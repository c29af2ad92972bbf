/**
 * A folder of this host through a mount of its own, which refuses to be written to, whoever tries: it is in no
 * table of mounts, and goes with the last who has it open. Source: open_tree(2), mount_setattr(2).
 */
import { closeSync } from 'node:fs'
import { getSystemErrorMessage } from 'node:util'
import { VisorError } from '../model/index.ts'
import { loadCalls } from './syscall.ts'

// The same numbers on all architectures.
const SYS_open_tree = 428
const SYS_mount_setattr = 442
const AT_FDCWD = -100
const AT_EMPTY_PATH = 0x1000
const AT_RECURSIVE = 0x8000
const OPEN_TREE_CLONE = 1
const OPEN_TREE_CLOEXEC = 0o2000000
const MOUNT_ATTR_RDONLY = 1n

/** Gives the number of an open file. Fails with `unsupported-config` where the kernel or our rights do not do. */
export async function openReadOnlyFolder(path: string): Promise<number> {
  const { openTree, setMount, errno } = await loadCalls()
  const refuse = () =>
    new VisorError(
      'unsupported-config',
      `'${path}' cannot be mounted read-only for a share: ${getSystemErrorMessage(-errno())}.`,
      { remedy: 'It takes Linux 5.12 and the rights of root. A share by 9p needs neither.' },
    )
  const fd = openTree(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)
  if (fd < 0) throw refuse()
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(MOUNT_ATTR_RDONLY)
  if (setMount(SYS_mount_setattr, fd, '', AT_EMPTY_PATH | AT_RECURSIVE, attributes, 32) === 0) return fd
  const failure = refuse()
  closeSync(fd)
  throw failure
}
