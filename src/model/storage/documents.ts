/** Definitions of pools and volumes as texts, in whichever notation. */
import { type OneDocument, oneDocument } from '../one-document.ts'
import { checkPoolDefinition, checkVolumeDefinition } from './check.ts'
import { PoolDefinition } from './pool-definition.ts'
import { VolumeDefinition } from './volume-definition.ts'

const pools: OneDocument<PoolDefinition> = oneDocument(PoolDefinition, checkPoolDefinition)
const volumes: OneDocument<VolumeDefinition> = oneDocument(VolumeDefinition, checkVolumeDefinition)

export const parsePoolDefinition = pools.parse
export const formatPoolDefinition = pools.format
export const parseVolumeDefinition = volumes.parse
export const formatVolumeDefinition = volumes.format
