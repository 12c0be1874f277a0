echo "bb: $1"
exit
