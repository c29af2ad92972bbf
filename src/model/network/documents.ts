/** Definitions of networks as texts, in whichever notation. */
import { type OneDocument, oneDocument } from '../one-document.ts'
import { checkNetworkDefinition } from './check.ts'
import { NetworkDefinition } from './definition.ts'

const documents: OneDocument<NetworkDefinition> = oneDocument(NetworkDefinition, checkNetworkDefinition)

export const parseNetworkDefinition = documents.parse
export const formatNetworkDefinition = documents.format
