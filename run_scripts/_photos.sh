# Sourced by the scripts that work on real photos: tldr_photos SHARED says where these and the weights lie.

tldr_photos() {
    local shared
    shared=$(cd "$1" && pwd) || return 1
    export FLICKR8K_WEB=$shared/data/flickr8k-web TLDR_ASSETS=$shared/assets NLTK_DATA=$shared/assets/nltk_data
    # On a CPU most of a small model's time goes into giving memory back to the system and asking for it again.
    export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=536870912
}
