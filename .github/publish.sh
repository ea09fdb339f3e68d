#!/usr/bin/env bash
# Put pages on the branch gh-pages of a clone, and push it.
#   publish.sh CLONE PAGES [FOLDER]
# Without a folder the pages become the whole site, but for the previews in preview/. With one they become what is in that
# folder; no pages at all remove it.
set -euo pipefail
clone=$1
pages=$(cd "$2" && pwd)
folder=${3:-}
site=$(mktemp -d)
git -C "$clone" worktree add --quiet --detach "$site"
cd "$site"
if git fetch --quiet origin gh-pages; then
  git checkout --quiet -B gh-pages FETCH_HEAD
else # the first time
  git checkout --quiet --orphan gh-pages
  git rm -r --quiet --force .
fi
if [ -n "$folder" ]; then
  rm -rf "${folder:?}"
  mkdir -p "$folder"
else
  find . -mindepth 1 -maxdepth 1 ! -name .git ! -name preview -exec rm -rf {} +
fi
cp -r "$pages"/. "./$folder"
touch .nojekyll # or folders that start with _ would not be served
git add --all
git diff --cached --quiet && exit
git -c user.name=book -c user.email=book@users.noreply.github.com commit --quiet --message "The book${folder:+, $folder}"
git push --quiet origin gh-pages
