/** An ext4 file system with the content of a folder, made without mounting it. Source: mke2fs(8), mke2fs.conf(5). */
import { promises as fs } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { setTimes } from './ext4-times.ts'

export interface RootFileSystemOptions {
  readonly folder: string
  /** A file that is all zeros where the file system will be. */
  readonly file: string
  readonly offset: number
  readonly sizeBytes: number
  readonly uuid: string
  /** Seconds since 1970: no time in it is later. */
  readonly epoch: number
  readonly scratch: string
  readonly signal?: AbortSignal | undefined
}

/** The host's own would make file systems that differ by its release, or that an older guest cannot read. */
const configuration = `[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
[fs_types]
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
	}
`

/** Fails with `unavailable` without mke2fs, `invalid-argument` when the folder does not fit. */
export async function makeRootFileSystem(options: RootFileSystemOptions): Promise<void> {
  const { folder, file, offset, sizeBytes, uuid, epoch, scratch, signal } = options
  const settings = join(scratch, 'mke2fs.conf')
  await fs.writeFile(settings, configuration)
  const extended = [
    `offset=${offset}`,
    `hash_seed=${uuid}`,
    'root_owner=0:0',
    'nodiscard',
    'lazy_itable_init=0',
  ]
  const args = ['-q', '-F', '-t', 'ext4', '-d', folder, '-U', uuid, '-L', 'root', '-E', extended.join(',')]
  const { code, stderr } = await run('mke2fs', [...args, file, `${Math.floor(sizeBytes / 1024)}k`], {
    ...(signal && { signal }),
    timeoutMs: 3_600_000,
    env: { ...process.env, LC_ALL: 'C', MKE2FS_CONFIG: settings, E2FSPROGS_FAKE_TIME: String(epoch) },
  }).catch((cause: unknown) => {
    if (!(cause instanceof VisorError) || cause.code !== 'unavailable') throw cause
    const remedy = "Install the package 'e2fsprogs'."
    throw new VisorError('unavailable', "Disks are built with 'mke2fs', which is not installed.", {
      remedy,
      cause,
    })
  })
  if (code !== 0) throw failure(stderr, sizeBytes)
  const handle = await fs.open(file, 'r+')
  try {
    await setTimes(handle, offset, epoch)
  } finally {
    await handle.close()
  }
}

function failure(stderr: string, sizeBytes: number): VisorError {
  const said = stderr.trim().split('\n').at(-1) ?? ''
  if (/No space left on device/iu.test(stderr))
    return new VisorError('failed', 'No space is left for the disk that is built.', {
      remedy: 'Make room there.',
    })
  if (/Could not allocate (?:block|inode)/iu.test(stderr))
    return new VisorError(
      'invalid-argument',
      `The system does not fit into ${Math.floor(sizeBytes / 2 ** 20)} MiB.`,
      {
        remedy: 'Give the disk a larger size (--size).',
      },
    )
  return new VisorError('failed', `The file system could not be made: ${said}`)
}
