"""Countries of numbers by their leading digits, for vendors that do not name the country.

The calling codes are those of ITU-T E.164, the area codes those of the North American Numbering Plan. A
shared prefix, such as toll-free +1 800 or +590, does not say its country, and neither does this table. An
area code that is assigned later is unknown until it is added. The library of the extra `audit` knows whole
numbers; the tests compare this table with it.
"""

from __future__ import annotations

from phonesys._validation import is_e164

_CALLING_CODES = """
    20EG 27ZA 30GR 31NL 32BE 33FR 34ES 36HU 40RO 41CH 43AT 45DK 46SE 48PL 49DE 51PE 52MX 53CU 54AR 55BR
    56CL 57CO 58VE 60MY 62ID 63PH 64NZ 65SG 66TH 81JP 82KR 84VN 86CN 90TR 91IN 92PK 93AF 94LK 95MM 98IR
    211SS 213DZ 216TN 218LY 220GM 221SN 222MR 223ML 224GN 225CI 226BF 227NE 228TG 229BJ 230MU 231LR 232SL
    233GH 234NG 235TD 236CF 237CM 238CV 239ST 240GQ 241GA 242CG 243CD 244AO 245GW 246IO 247AC 248SC 249SD
    250RW 251ET 252SO 253DJ 254KE 255TZ 256UG 257BI 258MZ 260ZM 261MG 263ZW 264NA 265MW 266LS 267BW 268SZ
    269KM 291ER 297AW 298FO 299GL 350GI 351PT 352LU 353IE 354IS 355AL 356MT 357CY 359BG 370LT 371LV 372EE
    373MD 374AM 375BY 376AD 377MC 378SM 380UA 381RS 382ME 383XK 385HR 386SI 387BA 389MK 420CZ 421SK 423LI
    500FK 501BZ 502GT 503SV 504HN 505NI 506CR 507PA 508PM 509HT 591BO 592GY 593EC 594GF 595PY 596MQ 597SR
    598UY 670TL 672NF 673BN 674NR 675PG 676TO 677SB 678VU 679FJ 680PW 681WF 682CK 683NU 685WS 686KI 687NC
    688TV 689PF 690TK 691FM 692MH 850KP 852HK 853MO 855KH 856LA 880BD 886TW 960MV 961LB 962JO 963SY 964IQ
    965KW 966SA 967YE 968OM 970PS 971AE 972IL 973BH 974QA 975BT 976MN 977NP 992TJ 993TM 994AZ 995GE 996KG
    998UZ
"""

_AREA_CODES = {
    "US": """
        201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 220 223 224 225 227 228 229
        231 234 235 239 240 248 251 252 253 254 256 260 262 267 269 270 272 274 276 279 281 283 301 302
        303 304 305 307 308 309 310 312 313 314 315 316 317 318 319 320 321 323 324 325 326 327 329 330
        331 332 334 336 337 339 341 346 347 350 351 352 353 360 361 363 364 369 380 385 386 401 402 404
        405 406 407 408 409 410 412 413 414 415 417 419 423 424 425 430 432 434 435 440 442 443 445 447
        448 458 463 464 469 470 472 475 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 515
        516 517 518 520 530 531 534 539 540 541 551 557 559 561 562 563 564 567 570 571 572 573 574 575
        580 582 585 586 601 602 603 605 606 607 608 609 610 612 614 615 616 617 618 619 620 623 626 628
        629 630 631 636 640 641 645 646 650 651 656 657 659 660 661 662 667 669 678 680 681 682 686 689
        701 702 703 704 706 707 708 712 713 714 715 716 717 718 719 720 724 725 726 727 728 730 731 732
        734 737 738 740 743 747 748 754 757 760 762 763 765 769 770 771 772 773 774 775 779 781 785 786
        801 802 803 804 805 806 808 810 812 813 814 815 816 817 818 820 821 826 828 830 831 832 835 838
        839 840 843 845 847 848 850 854 856 857 858 859 860 862 863 864 865 870 872 878 901 903 904 906
        907 908 909 910 912 913 914 915 916 917 918 919 920 925 928 929 930 931 934 936 937 938 940 941
        943 945 947 948 949 951 952 954 956 959 970 971 972 973 975 978 979 980 983 984 985 986 989
    """,
    "CA": """
        204 226 236 249 250 257 263 273 289 306 343 354 365 367 368 382 403 416 418 428 431 437 438 450
        468 474 506 514 519 548 579 581 584 587 604 613 639 647 672 683 705 709 742 753 778 780 782 807
        819 825 867 873 879 902 905 942
    """,
    "DO": "809 829 849",
    "JM": "658 876",
    "PR": "787 939",
    "BS": "242",
    "BB": "246",
    "AI": "264",
    "AG": "268",
    "VG": "284",
    "VI": "340",
    "KY": "345",
    "BM": "441",
    "GD": "473",
    "TC": "649",
    "MS": "664",
    "MP": "670",
    "GU": "671",
    "AS": "684",
    "SX": "721",
    "LC": "758",
    "DM": "767",
    "VC": "784",
    "TT": "868",
    "KN": "869",
}
"""North American area codes. Those of toll-free, premium and personal numbers are of no country."""

_SHARED: dict[str, str | None] = {
    "7": "RU", "76": None, "77": "KZ",
    "39": "IT", "3906698": "VA",
    "44": "GB", "441481": "GG", "441534": "JE", "441624": "IM",
    "447781": "GG", "447839": "GG", "447911": None, "447509": "JE", "447700": None, "447797": "JE",
    "447829": "JE", "447937": "JE", "44745": None, "447524": "IM", "447624": "IM", "447924": None,
    "440": None, "443": None, "445": None, "448": None, "449": None,
    "47": "NO", "4779": "SJ",
    "61": "AU", "61851": None, "61891": None, "611": None,
    "212": "MA", "2125288": None, "2125289": None,
    "262": "RE", "262268": None, "262269": "YT", "262639": "YT", "2627093": None, "2629": None,
    "290": "SH", "2908": "TA",
    "358": "FI", "3580": None, "35818": "AX",
    "5993": "BQ", "5994": "BQ", "5997": "BQ", "5999": "CW",
}  # fmt: skip
"""Parts of calling codes that several countries share. None for parts that they share too."""

_PREFIXES: dict[str, str | None] = {
    **{entry[:-2]: entry[-2:] for entry in _CALLING_CODES.split()},
    **{f"1{area}": country for country, areas in _AREA_CODES.items() for area in areas.split()},
    **_SHARED,
}
_LONGEST = max(map(len, _PREFIXES))
_NORTH_AMERICAN = len("+12025550100")


def country_of(number: str) -> str | None:
    """Return the country (ISO 3166-1 alpha-2) that the first digits of an E.164 number belong to.

    None for a shared prefix, an unknown prefix, or text that is not E.164.
    """
    if not is_e164(number) or (number[1] == "1" and len(number) != _NORTH_AMERICAN):
        return None
    for length in range(_LONGEST, 0, -1):
        prefix = number[1 : length + 1]
        if prefix in _PREFIXES:
            return _PREFIXES[prefix]
    return None
