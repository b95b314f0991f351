"""Sources in the tab. Bytes go from the network to storage and on to the GPU as JavaScript arrays, never through WASM.

url        a file on a host
blob       a file that the user picked
shards     a model of the site, complete and verified in this browser's storage
download   one shard on its way there, storage and lock what it needs for that
catalogue  which models there are
"""
